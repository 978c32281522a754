"""Errors, files, locks, downloads, processes and hardware, independent of the network."""
