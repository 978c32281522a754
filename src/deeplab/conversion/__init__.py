"""The authors' TensorFlow checkpoints as weights of this network."""
