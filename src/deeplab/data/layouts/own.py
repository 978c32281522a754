"""A data set of the user's own: any map-style dataset of images and label maps.

The class is called as ``Name(split="train", **arguments)``, and once more for validation. ``len``
and ``[index]`` are all that it must have; ``[index]`` returns an image and a label map:

* the image: uint8 ``(H, W, 3)`` or ``(H, W)`` as an array, ``(3, H, W)`` as a tensor, or a PIL
  image; arrays and tensors of other channels make the network one of these;
* the label map: integers ``(H, W)``, the index of a class or 255 for ignored pixels.

The same index must always give the same sample. Further attributes are used if it has them:
``classes`` (their names), ``ids`` (a name for each image) and ``fingerprint`` (a string that
changes with the content; without one a sample of the images is hashed).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deeplab.data.items import Item
from deeplab.data.layouts.base import Layout
from deeplab.data.layouts.own_settings import OwnDataSettings
from deeplab.data.pixel_format import RGB_CHANNELS
from deeplab.utils.constants import TARGET
from deeplab.utils.errors import UserError


class OwnLayout(Layout):
    """Layout of a dataset that has no files.

    Raises:
        UserError: its class cannot be imported or built.
    """

    def __init__(self, settings: OwnDataSettings) -> None:
        from deeplab.data.own_samples import OwnSource  # imports OpenCV

        self.settings, self.root = settings, Path(settings.root)
        self.source = OwnSource(settings)

    @classmethod
    def check(cls, settings: Any) -> Any:
        """See ``DataLayout``."""
        if settings.cache_dir:
            raise UserError(
                f"data.cache_dir={settings.cache_dir}: a dataset of your own has no files to "
                "decode once. Leave it out."
            )
        layout, found = cls(settings), list[int]()
        for key in ("train_split", "val_split"):
            split = getattr(settings, key)
            if not layout.num_images(split):
                raise UserError(f"data.{key}={split}: {layout.origin(split)} has no images.")
            found.append(layout.source.check(split.split("+")[0]))
        if len({*found}) > 1:
            raise UserError(
                f"data.{TARGET}={settings.target}: the training images have {found[0]} channels, "
                f"those for validation {found[1]}. Return the same number for both."
            )
        if settings.channels is None and found[0] != RGB_CHANNELS:
            settings = settings.model_copy(update={"channels": found[0]})
        if settings.classes:
            return settings
        dataset = layout.source.dataset(settings.train_split.split("+")[0])
        classes = tuple(map(str, getattr(dataset, "classes", None) or ()))
        if len(classes) < 2:
            raise UserError(
                f"data.{TARGET}={settings.target}: neither the dataset nor the config names two "
                "classes or more. Give the class an attribute classes, or set data.classes=[a,b]."
            )
        return settings.model_copy(update={"classes": classes})

    def splits(self) -> list[str]:
        """See ``Layout``."""
        names = f"{self.settings.train_split}+{self.settings.val_split}".split("+")
        return list(dict.fromkeys(names))

    def items(self, split: str) -> list[Item]:
        """See ``Layout``."""
        return self.source.items(split)

    def is_labeled(self, items: Sequence[Item]) -> bool:
        """See ``Layout``; the first sample tells."""
        return self.source.read(items[0])[1] is not None

    def image_size(self, item: Item) -> tuple[int, int]:
        """See ``Layout``."""
        image, _ = self.source.read(item)
        return image.shape[0], image.shape[1]

    def fingerprint(self, split: str) -> str:
        """Return the fingerprint that the dataset states, or a hash of some of its samples."""
        return "+".join(self.source.fingerprint(name) for name in split.split("+"))

    def origin(self, split: str) -> str:
        """See ``DataLayout``."""
        return f"{self.settings.target}(split={split!r})"
