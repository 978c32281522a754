"""Show an evaluation as an HTML page, made without torch."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "gallery": ["run_gallery"],
        "selection": ["confused_pairs", "image_iou"],
    },
)
