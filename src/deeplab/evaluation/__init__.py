"""Evaluation: scores of label maps, their result files, and comparisons of them."""
