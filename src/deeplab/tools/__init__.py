"""Commands beside training and evaluation, one package each."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["benchmarks", "convert", "cost", "export", "gallery", "predict"],
)
