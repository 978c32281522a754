"""Commands beside training and evaluation, one package each."""
