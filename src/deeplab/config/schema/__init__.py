"""The keys of ``conf/``, one module a group: types, bounds and rules between keys."""
