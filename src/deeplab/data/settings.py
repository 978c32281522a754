"""Keys of ``conf/data`` that all data sets share. The defaults are the paper's for PASCAL VOC.

Each data set adds its own keys, beside the class that reads it (``deeplab.data.layouts``).
"""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from deeplab.data.pixel_format import RGB_CHANNELS, PixelFormat
from deeplab.utils.constants import BACKGROUND
from deeplab.utils.own_code.node import OwnCode, is_own_code
from deeplab.utils.settings import (
    ADDED,
    INTEGER,
    AboveZero,
    Byte,
    FilePath,
    Float,
    Fraction,
    InChannels,
    Int,
    NonNegative,
    Positive,
    Seed,
    Settings,
    Side,
    Size,
    SplitName,
    Text,
)

RGB = tuple[Byte, Byte, Byte]
Transform = Annotated[dict[Text, dict[Text, Any]], Field(min_length=1, max_length=1)]
Augmentation = Annotated[
    Transform | OwnCode,
    BeforeValidator(lambda value: OwnCode(**value) if is_own_code(value) else value),
]
Values = tuple[Byte, ...] | tuple[RGB, ...]
OneOrMoreValues = Annotated[Values, Field(min_length=1)]
Drawn = Annotated[Int, Field(ge=1, le=10**6)]
ValueRange = tuple[Float, Float] | Annotated[tuple[tuple[Float, Float], ...], Field(min_length=1)]
ScaleFactor = Annotated[Float, Field(ge=0.01, le=16)]

MAX_CLASSES = 254
"""Largest number of classes, so that 255 and another value of a byte are no class."""

UnlistedValues = Literal["error", "ignore", "nearest", "background"]
"""Treatment of mask values that are neither a class nor ignored."""

BitDepth = Literal[8, 10, 12, 14, 16]
"""Numbers of bits that the values of a 16-bit file may use."""

FoundClasses = Annotated[
    tuple[Text, ...], Field(max_length=MAX_CLASSES), BeforeValidator(lambda value: value or ())
]
"""Names of classes; none: they are found in the data."""

LOCATION_KEYS = (
    "root",
    "eval_batch_size",
    "on_error",
    "cache_dir",
    "memory_cache",
    "parts",
    "archives",
    "unpacked_gb",
    "expected_images",
)
"""Keys about the location, download and reading of the data, not about their content."""


def ascending(bounds: tuple[float, float]) -> tuple[float, float]:
    """Return a lower and an upper bound; raise ValueError if they are in the wrong order."""
    if bounds[0] > bounds[1]:
        raise ValueError("the first bound must not be above the second")
    return bounds


def height_and_width(size: int | tuple[int, int]) -> tuple[int, int]:
    """Return a size that is a side of a square or a height and a width."""
    return (size, size) if isinstance(size, int) else size


class DataSettings(Settings):
    """Keys of every data set."""

    name: Text
    """Module of ``deeplab.data.layouts`` that reads the data set."""
    root: FilePath
    """Folder of the data set."""
    crop_size: Side = 513
    """Side of the square crops that the network is trained on, in pixels."""
    expected_images: dict[Text, Positive] = Field({})
    """Published number of images of each split."""
    train_split: SplitName = "train"
    """Split to train on; several are joined by ``+``."""
    val_split: SplitName = "val"
    """Split to validate on; several are joined by ``+``."""
    eval_batch_size: Size = 1
    """Images per validation step; 1 if some images are larger than ``eval_size``."""
    image_bits: Annotated[BitDepth, INTEGER] | None = None
    """Bits that the values of images of more than 8 bits per channel use, of which the upper 8 are
    kept; null: the fewest that hold the largest value in a sample of the images."""
    on_error: Literal["stop", "skip"] = "stop"
    """Reaction to a bad file: ``skip`` takes the next good image in training, leaves the image out
    of validation, and counts it."""

    @property
    def pixel_format(self) -> PixelFormat:
        """Channels of the images, and what their values mean."""
        return PixelFormat(bits=self.image_bits)


class ScaleSettings(Settings):
    """Range of the random scale in training."""

    min: ScaleFactor = 0.5
    """Smallest factor."""
    max: ScaleFactor = 2.0
    """Largest factor."""
    step: NonNegative = 0.25
    """Step between the possible factors; 0: any factor in the range."""

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        if self.max < self.min:
            raise ValueError(f"max ({self.max}) is below min ({self.min})")
        steps = (self.max - self.min) / self.step if self.step else 0
        if abs(steps - round(steps)) > 1e-6:
            raise ValueError(
                f"step ({self.step}) does not divide max - min ({self.max - self.min})"
            )
        return self


class AugmentationSettings(Settings):
    """Keys of the training crops of images with masks."""

    crop_size: Side = 513
    """Side of the square crop, in pixels."""
    scales: ScaleSettings = ScaleSettings()
    """Random scale of image and mask before the crop."""
    hflip_prob: Fraction = 0.5
    """Probability of a left-right flip."""
    augmentations: tuple[Augmentation, ...] = ()
    """Further albumentations transforms, as ``[{ColorJitter: {p: 0.5}}]``, or a class of one's own,
    as ``[{_target_: module.Name}]``; the paper has none."""
    copy_paste_prob: Annotated[Fraction, ADDED] = 0.0
    """Probability that classes of another training crop, without the background, are pasted into a
    crop."""
    cutmix_prob: Annotated[Fraction, ADDED] = 0.0
    """Probability that a rectangle of another training crop is pasted into a crop."""
    rare_class_temperature: Annotated[AboveZero | None, ADDED] = None
    """Draw training images by their classes, rarer ones the more often the smaller the value
    (DAFormer's is 0.01), with the crop around a pixel of the class; null: every image equally
    often."""


class ClassSettings(Settings):
    """Classes of a data set of images with masks, and their values in the masks."""

    classes: Annotated[tuple[Text, ...], Field(min_length=2, max_length=MAX_CLASSES)]
    """Names of the classes, with the background first if there is one."""
    palette: Annotated[tuple[RGB, ...], Field(min_length=1)] | None = None
    """Color of each class in overlays and figures; null: VOC's colors."""
    mask_values: OneOrMoreValues | None = None
    """Value of each class in the masks, an index or a color; null: class k has value k."""
    ignored_values: Values = ()
    """Further mask values that are ignored; 255 is, unless it is a class."""
    unlisted_values: UnlistedValues = "error"
    """Treatment of mask values that are neither a class nor ignored, and of annotated regions of no
    class; ``nearest``: as the nearest class up to a quarter of the distance between two, as for
    JPEG masks; ignored beyond; ``background``: as the class of this name."""

    @model_validator(mode="after")
    def _check_class_counts(self) -> Self:
        for key in ("palette", "mask_values"):
            entries = getattr(self, key)
            if entries is not None and self.classes and len(entries) != len(self.classes):
                raise ValueError(
                    f"{key} has {len(entries)} entries, but classes has {len(self.classes)}"
                )
        if len(self.classes) == 1:  # none at all are found
            raise ValueError(
                "classes must name at least two. One kind of objects needs the background too, as "
                f"data.classes=[{BACKGROUND},{self.classes[0]}]"
            )
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("classes contains the same name twice")
        values = self.mask_values
        if values is not None and (len(values) < 2 or len(set(values)) < len(values)):
            raise ValueError("mask_values must name at least two values, each once")
        if both := [value for value in values or () if value in self.ignored_values]:
            raise ValueError(f"mask_values and ignored_values both contain {both[0]}")
        return self


def _check_ranges(value: ValueRange) -> ValueRange:
    ranges = (value,) if isinstance(value[0], float) else value
    for low, high in ranges:
        if low >= high:
            raise ValueError(f"the lowest value ({low}) must be below the highest ({high})")
    return value


class SegmentationSettings(ClassSettings, AugmentationSettings, DataSettings):
    """Keys of every data set of images with masks."""

    of_ones_own: ClassVar[bool] = False
    """The images are the user's own, whose training starts from ImageNet weights by default."""

    channels: Annotated[InChannels | None, ADDED] = None
    """Channels of the images that the network sees: 3 for RGB, 1 for gray, else those of the files;
    null: 3, or those that are found in TIFF files and NumPy arrays with others."""
    image_range: Annotated[Annotated[ValueRange, AfterValidator(_check_ranges)] | None, ADDED] = (
        None
    )
    """Lowest and highest value of images that are not 8-bit integers, spread over 0 to 255, for all
    channels or for each; null: found where ``image_bits`` does not say it, as for floats."""
    eval_size: Side | tuple[Side, Side] = 513
    """Side in pixels, or height and width, that whole images are padded to at least; images are
    never resized for scoring."""
    cache_dir: FilePath | None = None
    """Folder for decoded images, which training maps into memory; null: no folder."""
    memory_cache: Annotated[Annotated[Float, Field(ge=0, le=1)], ADDED] = 0.2
    """Share of the free memory that decoded training images may take. They are kept there if all
    fit, on Linux; 0: never. ``cache_dir`` replaces it."""

    @model_validator(mode="after")
    def _check_channels(self) -> Self:
        ranges, channels = self.image_range, self.pixel_format.channels
        if ranges and isinstance(ranges[0], tuple) and len(ranges) != channels:
            raise ValueError(f"image_range has {len(ranges)} ranges for {channels} channels")
        return self

    @property
    def pixel_format(self) -> PixelFormat:
        """See ``DataSettings``."""
        return PixelFormat(self.channels or RGB_CHANNELS, self.image_bits, self.image_range)

    @property
    def padded_size(self) -> tuple[int, int]:
        """Height and width that whole images are padded to at least."""
        return height_and_width(self.eval_size)


AreaFraction = Annotated[Float, Field(gt=0, le=1)]
AspectRatio = Annotated[Float, Field(ge=0.1, le=10)]


class CropSettings(Settings):
    """Keys of the crops of images with labels."""

    crop_size: Side = 299
    """Side of the crop that the network sees, in pixels; 299 in the paper's Table 4."""
    scale: Annotated[tuple[AreaFraction, AreaFraction], AfterValidator(ascending)] = (0.08, 1.0)
    """Bounds of the random part's share of the image's area in training."""
    ratio: Annotated[tuple[AspectRatio, AspectRatio], AfterValidator(ascending)] = (0.75, 4 / 3)
    """Bounds of the random part's width over its height in training."""
    hflip_prob: Fraction = 0.5
    """Probability of a left-right flip."""
    augmentations: tuple[Augmentation, ...] = ()
    """Further albumentations transforms, as ``[{ColorJitter: {p: 0.5}}]``, or a class of one's own,
    as ``[{_target_: module.Name}]``; the paper has none."""
    crop_pct: Annotated[Float, Field(gt=0, le=1)] = 0.875
    """Side of the central square for validation, as a fraction of the shorter side."""


class ClassificationSettings(CropSettings, DataSettings):
    """Keys of every data set of images with labels."""


class ArchiveSettings(Settings):
    """Published archive of a data set; see ``deeplab.utils.download.Archive``."""

    url: Text | None
    """Address; null: the archive needs a login."""
    checksum: Annotated[Text, Field(pattern=r"^(md5:[0-9a-f]{32}|sha256:[0-9a-f]{64})$")] | None
    """Checksum with its kind; null: not published."""
    size: Annotated[int, Field(ge=1)] | None
    """Size in bytes; null: not published."""


class PublishedSettings(SegmentationSettings):
    """Data set that ``deeplab prepare`` makes from published archives."""

    parts: Annotated[tuple[Text, ...], Field(min_length=1)]
    """Names of the archives to prepare."""
    archives: dict[Text, ArchiveSettings]
    """All archives by name."""
    unpacked_gb: AboveZero
    """Size of the unpacked data set in GB."""

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        if unknown := set(self.parts) - set(self.archives):
            raise ValueError(
                f"parts contains unknown names: {', '.join(sorted(unknown))}. The parts are "
                f"{', '.join(self.archives)}"
            )
        return self


class SyntheticSettings(Settings):
    """Keys of drawn images, on which their content depends."""

    classes: Annotated[tuple[Text, ...], Field(min_length=2)]
    """Names of shapes; for scenes ``background`` comes first."""
    num_train: Drawn = 1000
    """Number of training images."""
    num_val: Drawn = 200
    """Number of validation images."""
    min_size: Side = 96
    """Smallest side of an image, in pixels."""
    max_size: Side = 128
    """Largest side of an image, in pixels."""
    scene_seed: Seed = 0
    """Seed of the drawing."""

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        if self.max_size < self.min_size:
            raise ValueError(f"max_size ({self.max_size}) is below min_size ({self.min_size})")
        return self


class SceneSettings(SyntheticSettings):
    """Keys of drawn scenes of several objects."""

    max_objects: Annotated[Int, Field(ge=1, le=100)] = 4
    """Largest number of objects in a scene."""
    class_shares: Annotated[tuple[NonNegative, ...] | None, ADDED] = None
    """How often each class but the background is drawn, relative to the others; null: equally
    often."""

    @model_validator(mode="after")
    def _check_shares(self) -> Self:
        shares = self.class_shares
        if shares is not None and (len(shares) != len(self.classes) - 1 or not any(shares)):
            raise ValueError(
                f"class_shares: expected {len(self.classes) - 1} numbers, one for each class but "
                "the background, not all 0"
            )
        return self
