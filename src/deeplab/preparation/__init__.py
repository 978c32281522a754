"""Preparation of published data sets for training, and the doctor that checks data sets."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "doctor": ["DatasetReport", "examine_dataset"],
        "prepare": ["run_preparation"],
        "run_doctor": ["run_check"],
    },
)
