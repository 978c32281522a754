"""Ablation tables: definitions, jobs, sweeps over their rows and reports."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "cli": ["run_ablations"],
        "distinct_jobs": ["Job", "RowEvaluation", "collect_jobs"],
        "sweep_request": ["SweepRequest", "parse_request"],
        "run_index": ["Run", "known_runs", "make_run_finder"],
        "run_tables": ["run_tables"],
        "sweep": ["JobError", "run_jobs"],
        "tables": ["Preset", "Table", "read_preset", "read_table"],
    },
)
