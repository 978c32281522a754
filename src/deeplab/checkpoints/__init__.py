"""Weights: reading files, naming and downloading published ones, initializing a network."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "hub": ["fetch_published_weights", "fetch_run_weights"],
        "initialization": ["InitSource", "find_init_source"],
        "loading": [
            "LoadReport",
            "initialize_from",
            "load_backbone",
            "load_weights",
            "save_weights",
        ],
        "pretrained": ["PublishedWeights", "find_published_weights"],
        "trained_run": ["TrainedRun", "find_trained_run"],
    },
)
