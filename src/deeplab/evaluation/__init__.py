"""Scores of trained networks, their files, and comparisons of them."""
