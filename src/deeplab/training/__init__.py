"""Training: one run from its config to its result."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "classification": ["ClassificationModule"],
        "compose_config": ["compose_train"],
        "losses": ["ClassificationLoss", "SegmentationLoss"],
        "module": ["Recipe", "TrainingModule"],
        "optimizers": ["build_optimizer", "parameter_groups"],
        "segmentation": ["SegmentationModule"],
        "train": ["run_experiment"],
    },
)
