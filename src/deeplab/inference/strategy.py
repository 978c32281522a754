"""Inference strategies: at which output stride, at which scales and whether mirrored too an image
is looked at (section 4, Tables 3 and 5).

A strategy has a name to type and to read: its parts joined by dashes, such as ``os8-ms-flip``.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

MULTI_SCALE = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
"""The paper's scales."""

OUTPUT_STRIDES = (8, 16, 32)


class View(NamedTuple):
    """One forward pass over an image."""

    output_stride: int
    scale: float
    mirrored: bool


class Window(NamedTuple):
    """Cut images that are larger than ``size`` into overlapping squares."""

    size: int
    """Side in pixels."""
    overlap: float
    """The part of the side that neighbors share at least."""


@dataclass(frozen=True)
class Strategy:
    """How an image is looked at: the probabilities of all scales and mirror images are averaged."""

    output_stride: int
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    window: Window | None = None

    @property
    def views(self) -> tuple[View, ...]:
        """Its forward passes, in a fixed order."""
        return tuple(
            View(self.output_stride, scale, mirrored)
            for mirrored in (False, True)[: 1 + self.flip]
            for scale in self.scales
        )

    @property
    def name(self) -> str:
        """What ``parse_strategy`` reads, and the window's side."""
        return "-".join(short for short, _ in self._parts())

    @property
    def label(self) -> str:
        """For a reader."""
        return ", ".join(words for _, words in self._parts())

    def _parts(self) -> Iterator[tuple[str, str]]:
        yield f"os{self.output_stride}", f"output stride {self.output_stride}"
        if self.scales == MULTI_SCALE:
            yield "ms", "multi-scale"
        elif self.scales != (1.0,):
            numbers = [f"{scale:g}" for scale in self.scales]
            yield f"x{'+'.join(numbers)}", f"scales {', '.join(numbers)}"
        if self.flip:
            yield "flip", "flip"
        if self.window:
            yield f"w{self.window.size}", f"windows of {self.window.size}"

    def record(self) -> dict[str, Any]:
        """For a result's JSON."""
        return {
            "name": self.name,
            "label": self.label,
            "output_stride": self.output_stride,
            "scales": list(self.scales),
            "flip": self.flip,
            "window": self.window and self.window._asdict(),
        }


def parse_strategy(name: str, *, output_stride: int, window: Window | None = None) -> Strategy:
    """The strategy that a name stands for.

    Args:
        name: parts joined by dashes, each at most once: ``os8``, ``os16`` or ``os32``; ``ms`` for
            the paper's six scales, ``x0.75+1+1.25`` for others or ``single-scale``; ``flip``.
        output_stride: where the name says none.
        window: for images that are too large for memory.

    Raises:
        ValueError: a part that is none of these, or stands twice.
    """
    found: dict[str, Any] = {}
    for part in re.split(r"(?<!single)-", name):
        key, value = _part(part, name)
        if key in found:
            raise ValueError(f"strategy {name!r} says twice which {key} it has")
        found[key] = value
    return Strategy(**{"output_stride": output_stride, "window": window, **found})


def _part(part: str, name: str) -> tuple[str, Any]:
    if part == "flip":
        return "flip", True
    if part in ("single-scale", "ms"):
        return "scales", MULTI_SCALE if part == "ms" else (1.0,)
    if part in {f"os{stride}" for stride in OUTPUT_STRIDES}:
        return "output_stride", int(part[2:])
    if re.fullmatch(r"x\d*\.?\d+(\+\d*\.?\d+)*", part):
        scales = tuple(sorted(float(scale) for scale in part[1:].split("+")))
        if len(set(scales)) == len(scales) and all(0.1 <= scale <= 8 for scale in scales):
            return "scales", scales
        raise ValueError(f"strategy {name!r}: scales are different numbers from 0.1 to 8")
    raise ValueError(
        f"strategy {name!r} has the part {part!r}; parts are os8, os16, os32, single-scale, ms "
        "(the paper's scales), x0.75+1+1.25 (others) and flip, joined by dashes"
    )
