"""From the published files of a data set to what training reads; the doctor that checks it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "doctor": ["DatasetReport", "examine_dataset"],
        "prepare": ["run_preparation"],
        "run_doctor": ["run_check"],
    },
)
