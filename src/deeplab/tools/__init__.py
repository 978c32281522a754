"""The commands beside training and evaluation, one package each."""
