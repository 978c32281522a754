"""How an image is looked at, and doing it."""
