"""Convert the authors' TensorFlow checkpoints."""
