"""From YAML files and the command line to checked settings, models and data."""
