"""From YAML files and the command line to checked settings, networks and data."""
