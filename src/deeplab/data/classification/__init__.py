"""Images with labels, for classifiers."""
