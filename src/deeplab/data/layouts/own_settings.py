"""Keys of a data set of the user's own."""

from typing import ClassVar

from pydantic import ConfigDict

from deeplab.data.settings import FoundClasses, SegmentationSettings
from deeplab.utils.own_code.node import OwnCode
from deeplab.utils.settings import FilePath, Text


class OwnDataSettings(OwnCode, SegmentationSettings):
    """A data set of the user's own; keys that are not these are the arguments of its class."""

    of_ones_own: ClassVar[bool] = True

    model_config = ConfigDict(extra="allow")

    name: Text = "own"
    root: FilePath = "."
    """Folder of the data set, for a class that has an argument ``root``."""
    classes: FoundClasses = ()
    """Names of the classes; null: the attribute ``classes`` of the dataset."""
