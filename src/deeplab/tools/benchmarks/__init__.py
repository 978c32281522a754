"""Speed against the obvious alternatives, both sides measured in one run."""
