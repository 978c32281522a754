"""The keys of ``conf/``, one module per group: types, bounds and rules between keys."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "logger": ["LoggerSettings"],
        "model": [
            "AsppSettings",
            "BackboneSettings",
            "DecoderSettings",
            "ModelConfig",
            "NetworkConfig",
        ],
        "run": ["ClassifierConfig", "RunConfig", "TrainConfig"],
        "scripts": [
            "CompareConfig",
            "ConvertConfig",
            "CostConfig",
            "EvaluateConfig",
            "ExportConfig",
            "GalleryConfig",
            "PredictConfig",
            "PrepareConfig",
        ],
        "stage": ["ClassifierRecipe", "Recipe"],
        "trainer": ["TrainerSettings"],
    },
)
