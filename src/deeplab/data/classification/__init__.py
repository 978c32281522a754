"""Images with labels, for classifiers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "dataset": ["ClassificationDataset", "classification_example"],
        "transforms": ["CentralCrop", "RandomResizedCrop"],
    },
)
