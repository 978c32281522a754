"""Convert the authors' TensorFlow checkpoints."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "architecture": ["Architecture", "detect_architecture"],
        "convert": ["run_conversion"],
        "readers": ["Source", "read_source"],
    },
)
