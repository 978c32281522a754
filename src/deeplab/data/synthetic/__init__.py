"""Images drawn from a seed, for training without a download."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "scenes": ["ShapesSpec", "draw_scene"],
        "single_objects": ["ShapeClassesSpec", "draw_shape_image"],
    },
)
