"""Schemas of the keys in ``conf/``, one module a group: types, bounds and rules between keys."""
