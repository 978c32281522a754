"""Images and label maps: reading, drawing, augmenting, batching. Knows nothing of the network."""
