"""A trained network as a file that runs without this project, and its model card."""
