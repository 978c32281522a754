"""Count what a network costs, and measure its speed."""
