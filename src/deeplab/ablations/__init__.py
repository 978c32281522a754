"""Ablation tables: definitions, jobs, sweeps over their rows and reports."""
