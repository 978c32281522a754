"""Drawn images of one shape each; see ``deeplab.data.synthetic.single_objects``."""

from typing import Any

from deeplab.data.layouts.base import check_drawn_root, check_drawn_splits
from deeplab.data.layouts.imagenet import LabeledFolder
from deeplab.data.settings import ClassificationSettings, SyntheticSettings
from deeplab.utils.errors import UserError


class ShapeClassesSettings(SyntheticSettings, ClassificationSettings):
    """Drawn images of one textured shape each."""


class ShapeClassesLayout(LabeledFolder):
    """Layout of images that are drawn when they are needed for the first time."""

    def __init__(self, settings: ShapeClassesSettings) -> None:
        from deeplab.data.synthetic.single_objects import get_or_draw_shape_images

        check_drawn_splits(settings)
        super().__init__(get_or_draw_shape_images(settings.root, settings))

    @classmethod
    def check_other_root(cls, settings: Any, root: str) -> None:
        """See ``DataLayout``."""
        from deeplab.data.synthetic.single_objects import shape_images_folder

        check_drawn_root(root, drawn=shape_images_folder(root, settings).is_dir())

    @classmethod
    def check(cls, settings: Any) -> Any:
        """Check the names of the classes and splits, without drawing."""
        from deeplab.data.synthetic.single_objects import check_shapes  # imports OpenCV

        try:
            check_shapes(settings.classes)
        except ValueError as error:
            raise UserError(f"data.classes: {error}.") from None
        check_drawn_splits(settings)
        return settings
