"""Data sets, one module each: where their images are, with the masks or labels of each split."""
