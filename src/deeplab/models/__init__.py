"""The network of the paper's Figure 2: backbone, ASPP, decoder and the complete model."""
