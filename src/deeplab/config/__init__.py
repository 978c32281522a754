"""YAML files and the command line turned into checked settings, models and data."""
