"""Evaluation: scores of label maps, what is kept of them, and putting them side by side."""
