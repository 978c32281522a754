"""The keys of ``conf/``, one module per group: types, bounds and rules between keys."""
