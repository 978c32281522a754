"""Tables of trainings: what stands in them, what of it is done, doing the rest, reporting it."""
