"""Preparation of published data sets for training, and the doctor that checks data sets."""
