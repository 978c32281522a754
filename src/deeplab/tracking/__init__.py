"""Records of runs: folders, provenance, protocols, Weights & Biases, console output."""
