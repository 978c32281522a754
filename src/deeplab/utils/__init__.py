"""Errors, files, locks, downloads, processes and hardware: nothing that knows the network."""
