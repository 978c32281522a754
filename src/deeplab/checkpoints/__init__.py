"""Weights: reading files, naming published ones, downloading, initializing a network."""
