"""Images drawn from a seed, for training without a download."""
