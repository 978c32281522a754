"""A trained network in memory, and what it predicts: ``deeplab.load(...).predict(...)``."""

import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, Self, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from deeplab.checkpoints.trained_run import OwnNetwork, TrainedNetwork, TrainedRun
from deeplab.config.build_model import check_is_network
from deeplab.config.execution import inference_execution
from deeplab.config.parsing import validate
from deeplab.config.schema.scripts import AutoWindowConfig
from deeplab.config.schema.trainer import TrainerSettings
from deeplab.data.class_set import mask_image, write_mask
from deeplab.data.packed_file import MemoryFile
from deeplab.data.settings import ClassSettings, height_and_width
from deeplab.inference.segmenter import Segmenter
from deeplab.models.deeplabv3plus import DeepLabV3Plus
from deeplab.tools.predict.contents import class_shares
from deeplab.tools.predict.photos import Pixels, read_photo, to_pixels
from deeplab.utils.errors import UserError, argument_names
from deeplab.utils.hardware import Execution
from deeplab.utils.settings import Side
from deeplab.utils.visualization import legend_overlay, overlay_with_outlines
from deeplab.utils.write_errors import report_write_errors

ImageLike = str | PathLike[str] | bytes | BinaryIO | Image.Image | NDArray[Any]
"""Path of an image, content of its file, open file, image of Pillow, or array."""

SINGLE = (str, bytes, bytearray, memoryview, np.ndarray, torch.Tensor, Mapping)
"""Types of what is one image, or none, though it can be iterated over."""

MAX_SHOWN_SIDE = 1024
"""Longest side of what a notebook shows, in pixels."""


class Prediction:
    """What a network says about one image.

    In a notebook it shows its overlay.

    Attributes:
        image: the image that was predicted: ``(H, W, C)``, uint8, upright; RGB if C is 3.
        label_map: most likely class of each pixel ``(H, W)``, uint8.
        classes: name of each class.
        palette: color of each class ``(256, 3)``, uint8.
    """

    def __init__(
        self,
        image: Pixels,
        label_map: Pixels,
        classes: Sequence[str],
        palette: Pixels,
        segmenter: Segmenter,
    ) -> None:
        self.image, self.label_map = image, label_map
        self.classes, self.palette = tuple(classes), palette
        self._segmenter = segmenter

    @cached_property
    def probabilities(self) -> NDArray[np.float32]:
        """Probability of each class ``(K, H, W)``; their largest is that of ``label_map``.

        The network runs again when they are first asked for, since they take 4 K bytes a pixel.
        """
        with _device(self._segmenter):
            return np.asarray(self._segmenter.probabilities(self.image, np.float32)[1], np.float32)

    def overlay(self, *, legend: bool = True) -> Image.Image:
        """Return the image tinted with the colors of its classes, with a legend of them below."""
        draw = legend_overlay if legend else overlay_with_outlines
        return Image.fromarray(draw(self.image, self.label_map, self.classes, self.palette))

    def save(self, path: str | PathLike[str] | BinaryIO) -> None:
        """Write the label map as a palette PNG, as ``deeplab predict`` does.

        Args:
            path: the file to write, or an open one, such as ``io.BytesIO()``.

        Raises:
            UserError: the name does not end in ``.png``, or the file cannot be written.
        """
        if not isinstance(path, str | PathLike):
            mask_image(self.label_map, self.palette).save(path, format="PNG")
            return
        if Path(path).suffix.lower() != ".png":
            raise UserError(
                f"{path}: a label map is saved as PNG, which keeps its values. Let the name end in "
                ".png; overlay().save(...) writes what you see."
            )
        with report_write_errors(f"save({str(path)!r})"):
            write_mask(Path(path).expanduser(), self.label_map, self.palette)

    def _repr_png_(self) -> bytes:
        shown, buffer = self.overlay(), io.BytesIO()
        shown.thumbnail((MAX_SHOWN_SIDE, MAX_SHOWN_SIDE))
        shown.save(buffer, format="PNG")
        return buffer.getvalue()

    def __repr__(self) -> str:
        height, width = self.label_map.shape
        shares = class_shares(self.label_map, self.classes).items()
        largest = ", ".join(f"{name} {100 * share:.1f} %" for name, share in list(shares)[:3])
        return f"Prediction({width} x {height} pixels: {largest})"


class _Request(NamedTuple):
    """Settings of a segmenter, and the state of the weights that it was made of."""

    strategy: str
    window: int | str | None
    overlap: float
    device: str | None
    output_stride: int
    weights: tuple[tuple[int, int], ...]


class _NetworkSettings(ClassSettings):
    """Classes of a network in memory, and the size that its images are padded to."""

    eval_size: Side | tuple[Side, Side]


class TrainedModel:
    """A trained network with its classes, ready to predict images of any size.

    ``deeplab.load`` returns that of a run, ``from_network`` that of a network in memory.

    Args:
        trained: the run, or the network with its classes.
        execution: device and precision of the predictions.

    Attributes:
        model: the network, a plain ``nn.Module``; of a run, in eval mode on the CPU. Predictions
            follow its weights: train it further, and they change. What is written through
            ``.data`` of a tensor is not noticed.
        classes: name of each class.
        palette: color of each class ``(256, 3)``, uint8.
        config: config of the run; None of a network that no run has trained.
    """

    def __init__(self, trained: TrainedNetwork, execution: Execution) -> None:
        self._trained, self._execution = trained, execution
        self.config = trained.config if isinstance(trained, TrainedRun) else None
        self.model = trained.load_model()
        self.classes, self.palette = tuple(trained.classes.names), trained.classes.palette
        self._current: tuple[_Request, Segmenter] | None = None

    @classmethod
    def from_network(
        cls,
        model: DeepLabV3Plus,
        classes: Sequence[str],
        *,
        palette: Sequence[tuple[int, int, int]] | None = None,
        eval_size: int | tuple[int, int] = 33,
        device: str = "auto",
        precision: str = "auto",
    ) -> Self:
        """Return what predicts with a network that a training loop of your own has trained.

        Args:
            model: the network. It stays where it is, in its mode: a copy predicts, in eval mode.
            classes: name of each class.
            palette: color of each class, for overlays and saved label maps; None: VOC's.
            eval_size: as ``data.eval_size``: side, or height and width, that images are padded to
                at least, which matters if your validation pads small ones.
            device: as in ``deeplab.load``.
            precision: as in ``deeplab.load``.

        Raises:
            UserError: it is no such network, has another number of classes, or this machine lacks
                the device.
        """
        check_is_network(model)
        keys = {"classes": classes, "palette": palette, "eval_size": eval_size}
        settings = validate(_NetworkSettings, keys)
        if len(settings.classes) != model.num_classes:
            raise UserError(
                f"classes: {len(settings.classes)} names, but the network has num_classes="
                f"{model.num_classes}. Name each class."
            )
        size = height_and_width(settings.eval_size)
        network = OwnNetwork(model, settings, size)
        return cls(network, execution_on(str(device), precision))

    @overload
    def predict(  # type: ignore[overload-overlap]  # strings, bytes and files are iterable
        self,
        images: ImageLike,
        *,
        strategy: str = ...,
        window: int | Literal["auto"] | None = ...,
        overlap: float = ...,
        device: str | torch.device | None = ...,
    ) -> Prediction: ...

    @overload
    def predict(
        self,
        images: Iterable[Any],
        *,
        strategy: str = ...,
        window: int | Literal["auto"] | None = ...,
        overlap: float = ...,
        device: str | torch.device | None = ...,
    ) -> list[Prediction]: ...

    @argument_names({"window_size": "window"})
    def predict(
        self,
        images: ImageLike | Iterable[Any],
        *,
        strategy: str = "single-scale",
        window: int | Literal["auto"] | None = "auto",
        overlap: float = AutoWindowConfig.model_fields["overlap"].default,
        device: str | torch.device | None = None,
    ) -> Prediction | list[Prediction]:
        """Predict an image, or each of several images, as ``deeplab predict`` does.

        Args:
            images: path of an image file, its bytes, open file, image of Pillow, or array
                ``(H, W)``, ``(H, W, 3)`` (RGB) or ``(H, W, 4)`` (alpha is dropped), or
                ``(H, W, C)`` with the channels of the run, of uint8, of uint16, or of floats from 0
                to 1; or a list or another iterable of them. Files and images of Pillow are turned
                upright by their EXIF orientation; the sizes may differ.
            strategy: inference strategy, such as ``os8-ms-flip``: see ``docs/evaluation.md``.
            window: side in pixels of overlapping windows; auto: as large ones as memory holds where
                it does not hold the whole image, which is printed; None: whole images.
            overlap: least fraction of a window's side that neighbors have in common.
            device: device of this call; None: that of ``load``.

        Raises:
            UserError: an image, a file, the strategy, the window or the device is wrong.
            MemoryError: an image is too large for the device.
        """
        if not isinstance(strategy, str):
            raise UserError(f"strategy={strategy!r}: expected the name of one, as 'os8-ms-flip'.")
        segmenter = self._segmenter(strategy, window, overlap, str(device) if device else None)
        if isinstance(images, SINGLE) or hasattr(images, "read"):
            return self._predict(images, segmenter)
        if isinstance(images, Iterable):
            return [self._predict(image, segmenter) for image in images]
        return self._predict(images, segmenter)

    def _predict(self, image: Any, segmenter: Segmenter) -> Prediction:
        pixel_format = self._trained.pixel_format
        if hasattr(image, "read") and not isinstance(image, io.TextIOBase):
            image.seek(0)  # as Pillow does: who has just written it is at its end
            image = image.read()
        if isinstance(image, str) and (not image or "://" in image):
            hint = " Download it, and pass its path or its bytes." if image else ""
            raise UserError(f"image={image!r}: expected the path of an image.{hint}")
        if isinstance(image, str | PathLike):
            pixels, _ = read_photo(Path(image).expanduser(), pixel_format)
        elif isinstance(image, bytes | bytearray | memoryview):
            pixels, _ = read_photo(MemoryFile(bytes(image)), pixel_format)
        else:
            pixels = np.array(to_pixels(image, pixel_format))  # the caller may reuse its array
        with _device(segmenter):
            label_map = segmenter.labels(pixels)
        return Prediction(pixels, label_map, self.classes, self.palette, segmenter)

    def _segmenter(
        self,
        strategy: str,
        window: int | Literal["auto"] | None,
        overlap: float,
        device: str | None,
    ) -> Segmenter:
        """Return the segmenter of the last call if nothing has changed since."""
        windows = validate(AutoWindowConfig, {"window_size": window, "overlap": overlap})
        tensors = (*self.model.parameters(), *self.model.buffers())
        weights = tuple((tensor.data_ptr(), tensor._version) for tensor in tensors)
        stride = self._trained.output_stride
        request = _Request(strategy, window, overlap, device, stride, weights)
        if self._current and self._current[0] == request:
            return self._current[1]
        strategies = self._trained.strategies(
            [strategy], window=windows.fixed_window, overlap=overlap, key="strategy"
        )
        execution = self._execution
        if device:
            execution = execution_on(device, execution.precision)
        with torch.cuda.device(execution.indices[0]) if execution.indices else nullcontext():
            predictor = self._trained.predictor(
                strategies, execution, key="strategy", model=self.model
            )
        segmenter = self._trained.segmenter(predictor, execution, auto_overlap=windows.auto_overlap)
        segmenter.window_key = "window"
        self._current = request, segmenter
        return segmenter

    def __repr__(self) -> str:
        return f"TrainedModel({str(self._trained.source)!r}, {len(self.classes)} classes)"


@argument_names({"trainer.accelerator": "device", "accelerator": "device", "trainer.": ""})
def execution_on(device: str, precision: str = "auto") -> Execution:
    """Return the settings of predictions on a device.

    Args:
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        precision: ``auto`` or Lightning's name of a precision, as ``trainer.precision``.

    Raises:
        UserError: this machine lacks the device, or the name of one of them is unknown.
    """
    name, _, index = device.partition(":")
    settings = validate(TrainerSettings, {"accelerator": name, "precision": precision})
    execution = inference_execution(settings)
    gpu = execution.accelerator == "cuda"
    count = torch.cuda.device_count() if gpu else 1
    if index and not (index.isdecimal() and int(index) < count):
        raise UserError(f"device={device}: this machine has {count} devices of this kind.")
    return replace(execution, indices=(int(index),)) if index and gpu else execution


def _device(segmenter: Segmenter) -> AbstractContextManager[Any]:
    """Return a context in which ``cuda`` is the GPU that the network is on."""
    device = next(segmenter.predictor.model.parameters()).device
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
