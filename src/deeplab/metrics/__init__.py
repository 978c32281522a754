"""Scores of label maps and of class rankings."""
