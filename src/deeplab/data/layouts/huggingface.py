"""Data sets of the Hugging Face hub, written by ``deeplab prepare`` as images and masks.

images/SPLIT/000000.jpg
masks/SPLIT/000000.png
classes.yaml            if the data set names its classes
"""

from pathlib import Path

from deeplab.data.layouts.folder import FolderLayout
from deeplab.data.layouts.folder_settings import FolderSettings
from deeplab.utils.errors import UserError
from deeplab.utils.program import command
from deeplab.utils.settings import Text


class HuggingFaceSettings(FolderSettings):
    """A data set of the Hugging Face hub."""

    path: Text
    """Name on the hub, ``user/name``, or a local folder in one of the hub's forms."""
    subset: Text | None = None
    """Subset of the data set, if it has several."""
    revision: Text | None = None
    """Branch, tag or commit; null: the newest."""
    image_column: Text | None = None
    """Column of the images; null: the usual names are tried."""
    mask_column: Text | None = None
    """Column of the masks; null: the usual names are tried."""


class HuggingFaceLayout(FolderLayout):
    """Layout of the folder that a data set was written to."""

    def __init__(self, settings: HuggingFaceSettings) -> None:
        if not Path(settings.root).expanduser().is_dir():
            raise UserError(
                f"data.root={settings.root}: {settings.path} is not there yet. Run "
                f"{command('prepare')} data=huggingface data.path={settings.path}."
            )
        super().__init__(settings)
