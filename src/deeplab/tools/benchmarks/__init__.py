"""Speed against the obvious alternative, both measured in one run."""
