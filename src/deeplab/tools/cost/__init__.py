"""Count what a network costs, and measure its speed."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "cost": ["run_cost"],
    },
)
