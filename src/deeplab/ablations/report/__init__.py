"""Reports on ablation tables and grids, made from run folders without torch or the images."""
