"""Images drawn from a seed, for training without a download."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "scenes": ["draw_scene", "get_or_draw_scenes"],
        "single_objects": ["draw_shape_image", "get_or_draw_shape_images"],
    },
)
