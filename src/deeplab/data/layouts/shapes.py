"""Drawn scenes of textured shapes in VOC's layout; see ``deeplab.data.synthetic.scenes``."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from deeplab.data.items import Item
from deeplab.data.layouts.base import (
    DRAWN_SPLITS,
    Layout,
    check_drawn_root,
    check_drawn_split,
    check_drawn_splits,
)
from deeplab.data.layouts.voc import VOCFolder
from deeplab.data.settings import SceneSettings, SegmentationSettings
from deeplab.utils.errors import UserError


class ShapesSettings(SceneSettings, SegmentationSettings):
    """Drawn scenes of textured shapes."""


class ShapesLayout(Layout):
    """Layout of scenes that are drawn when they are needed for the first time."""

    def __init__(self, settings: ShapesSettings) -> None:
        self.settings = settings

    @classmethod
    def check(cls, settings: Any) -> Any:
        """Check the names of the classes and splits, without drawing."""
        from deeplab.data.synthetic.scenes import check_classes  # imports OpenCV

        try:
            check_classes(settings.classes)
        except ValueError as error:
            raise UserError(f"data.classes: {error}.") from None
        check_drawn_splits(settings)
        return settings

    @cached_property
    def _folder(self) -> VOCFolder:
        from deeplab.data.synthetic.scenes import get_or_draw_scenes  # imports OpenCV

        self.check(self.settings)  # a run's config may have been edited
        return VOCFolder(get_or_draw_scenes(self.settings.root, self.settings))

    @property
    def root(self) -> Path:  # type: ignore[override]
        """Folder of the drawn scenes."""
        return self._folder.root

    @classmethod
    def check_other_root(cls, settings: Any, root: str) -> None:
        """See ``DataLayout``."""
        from deeplab.data.synthetic.scenes import scenes_folder  # imports OpenCV

        check_drawn_root(root, drawn=scenes_folder(root, settings).is_dir())

    def check_split(self, split: str) -> None:
        """Check that a split exists, without drawing; see ``DataLayout``."""
        check_drawn_split(split, self.settings.name)

    def splits(self) -> list[str]:
        return list(DRAWN_SPLITS)

    def items(self, split: str) -> Sequence[Item]:
        self.check_split(split)
        return self._folder.items(split)

    def origin(self, split: str) -> str:
        """See ``DataLayout``."""
        return f"drawn with scene_seed {self.settings.scene_seed}"
