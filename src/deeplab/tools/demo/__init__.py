"""A page in the browser that segments dropped images."""
