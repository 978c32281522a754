"""The network of the paper's Figure 2: backbone, ASPP and decoder, and their composition."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
