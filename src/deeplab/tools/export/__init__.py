"""Write a trained network as ONNX or a torch.export program, or upload it to a hub."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "export": ["run_export"],
        "exportable": ["ImageToClasses"],
    },
)
