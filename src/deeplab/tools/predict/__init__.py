"""Apply a trained network to images, folders and videos."""
