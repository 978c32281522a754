"""Images and label maps: reading, drawing, augmenting and batching, independent of the network."""
