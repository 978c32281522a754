"""Apply a trained network to images, folders and videos."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "predict": ["run_prediction"],
        "video": ["Video", "VideoWriter"],
    },
)
