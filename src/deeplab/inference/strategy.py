"""Inference strategies: output stride, scales and flip (section 4, Tables 3 and 5).

A strategy's name is its parts joined by dashes, such as ``os8-ms-flip``.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from deeplab.utils.settings import OUTPUT_STRIDES

MULTI_SCALE = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
"""Scales of the paper's multi-scale inference."""

MIN_SCALE, MAX_SCALE = 0.1, 8.0
"""Range of the scales."""

SINGLE_SCALE = "single-scale"
"""Name of inference at the image's own size."""


class ForwardPass(NamedTuple):
    """One forward pass over an image."""

    output_stride: int
    scale: float
    flip: bool
    """Mirrors the image horizontally."""


class Window(NamedTuple):
    """Overlapping square windows for images that are larger than ``size``."""

    size: int
    """Side in pixels."""
    overlap: float
    """Minimum overlap of neighboring windows, as a fraction of the side."""


@dataclass(frozen=True)
class Strategy:
    """An inference strategy: probabilities are averaged over all scales and mirrored images."""

    output_stride: int
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    """Also predicts the mirrored image."""
    window: Window | None = None

    @property
    def passes(self) -> tuple[ForwardPass, ...]:
        """The forward passes, in a fixed order."""
        return tuple(
            ForwardPass(self.output_stride, scale, flip)
            for flip in (False, True)[: 1 + self.flip]
            for scale in self.scales
        )

    @property
    def name(self) -> str:
        """The name for ``parse_strategy``, followed by the window's side."""
        return "-".join(short for short, _ in self._parts())

    @property
    def label(self) -> str:
        """The description for tables and figures."""
        return ", ".join(words for _, words in self._parts())

    def _parts(self) -> Iterator[tuple[str, str]]:
        """Yield the short name and the description of each part."""
        yield f"os{self.output_stride}", f"output stride {self.output_stride}"
        if self.scales == MULTI_SCALE:
            yield "ms", "multi-scale"
        elif self.scales != (1.0,):
            numbers = [str(scale).removesuffix(".0") for scale in self.scales]
            yield f"x{'+'.join(numbers)}", f"scales {', '.join(numbers)}"
        if self.flip:
            yield "flip", "flip"
        if self.window:
            yield f"w{self.window.size}", f"windows of {self.window.size}"


def parse_strategy(name: str, *, output_stride: int, window: Window | None = None) -> Strategy:
    """Parse the name of a strategy.

    Args:
        name: parts joined by dashes, each at most once: ``os8``, ``os16`` or ``os32``; ``ms`` for
            the paper's six scales, ``x0.75+1+1.25`` for others or ``single-scale``; ``flip``.
        output_stride: the output stride if the name has none.
        window: the window for images that are too large for memory.

    Raises:
        ValueError: an unknown part, or a setting that is given twice.
    """
    settings: dict[str, Any] = {}
    for part in re.split(r"(?<!single)-", name):
        key, value = _parse_part(part, name)
        if key in settings:
            raise ValueError(f"strategy {name!r}: {key} is given twice. Remove one of the parts")
        settings[key] = value
    return Strategy(**{"output_stride": output_stride, "window": window, **settings})


def _parse_part(part: str, name: str) -> tuple[str, Any]:
    """Return the setting and its value of one part of a strategy's name."""
    if part == "flip":
        return "flip", True
    if part in (SINGLE_SCALE, "ms"):
        return "scales", MULTI_SCALE if part == "ms" else (1.0,)
    strides = [f"os{stride}" for stride in OUTPUT_STRIDES]
    if part in strides:
        return "output_stride", int(part[2:])
    if re.fullmatch(r"x\d*\.?\d+(\+\d*\.?\d+)*", part):
        scales = tuple(sorted(float(scale) for scale in part[1:].split("+")))
        if problem := scales_problem(scales):
            raise ValueError(f"strategy {name!r}: {problem}")
        return "scales", scales
    raise ValueError(
        f"strategy {name!r}: unknown part {part!r}. The parts are {', '.join(strides)}, "
        f"{SINGLE_SCALE}, ms (the paper's scales), x0.75+1+1.25 (other scales) and flip, joined by "
        "dashes"
    )


def scales_problem(scales: Sequence[float]) -> str | None:
    """Return what is wrong with scales, or None."""
    in_range = all(MIN_SCALE <= scale <= MAX_SCALE for scale in scales)
    if in_range and len(set(scales)) == len(scales):
        return None
    return f"scales must be different numbers from {MIN_SCALE:g} to {MAX_SCALE:g}"
