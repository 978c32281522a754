"""Cost of a network, counted and measured."""
