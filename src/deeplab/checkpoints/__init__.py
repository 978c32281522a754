"""Weights: reading files, naming and downloading published ones, initializing a network."""
