"""Show an evaluation as an HTML page, made without torch."""
