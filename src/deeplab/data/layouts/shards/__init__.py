"""Labeled images in tar files."""
