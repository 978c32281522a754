"""The report on ablation tables, from the records of runs alone: neither torch nor images."""
