"""Conversion of the authors' TensorFlow checkpoints."""
