"""A trained network on pictures, folders and videos of one's own."""
