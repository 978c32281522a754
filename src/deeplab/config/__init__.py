"""From YAML files and the command line to checked settings, networks and data."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "build_data": ["build_classification_data", "build_segmentation_data"],
        "build_model": ["build_backbone", "build_classifier", "build_model"],
        "execution": ["choose_execution"],
        "hydra_app": ["run_script"],
        "parsing": ["parse", "validate"],
    },
)
