"""Count what a network costs, and measure it."""
