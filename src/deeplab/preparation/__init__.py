"""From what the makers of a data set publish to what training reads."""
