"""Speed against the obvious alternatives, both sides measured in one run."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "exported": ["compare_exports"],
        "loss": ["compare_losses"],
        "pipeline": ["compare_pipelines"],
        "strategies": ["compare_strategies"],
    },
)
