"""HTML page that shows the images of an evaluation; rendering it needs no torch."""
