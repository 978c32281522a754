"""Classes of the user's own, which a config names: nodes, versions, trust, objects."""
