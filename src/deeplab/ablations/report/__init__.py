"""The report on ablation tables, from the records of runs alone: neither torch nor the images of a
data set are needed."""
