"""Hydra plugin that completes the YAML files of ``conf/`` with the defaults of their settings.

A file holds what differs from the defaults, which stand in the pydantic models alone. To Hydra
every key is in the file: it can be set on the command line, and ``--cfg job`` prints it.
"""
