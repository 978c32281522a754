"""Atrous rates that the crops of a training are large enough for."""

from collections.abc import Sequence

from deeplab.config.schema.run import TrainConfig
from deeplab.models.aspp import REFERENCE_STRIDE, scale_atrous_rate
from deeplab.models.sizes import map_size
from deeplab.utils.own_code.node import OwnCode

LARGEST_RATE = 12 / 17
"""Largest rate that fits, as a part of the side of a crop's last map: 12 for 17 x 17 (a crop of
257), as in RESULTS.md. The paper's 18 for 33 x 33 is below it."""


def fitting_rates(rates: Sequence[int], *, crop_size: int, output_stride: int) -> list[int]:
    """Return atrous rates, made smaller together until they fit the crops.

    Args:
        rates: rates at output stride 16.
        crop_size: side of the crops in pixels.
        output_stride: output stride of the training; the rates must be whole numbers there.
    """
    crop_map = map_size(crop_size, output_stride)
    step = max(1, output_stride // REFERENCE_STRIDE)
    factor = min(1, LARGEST_RATE * crop_map * output_stride / REFERENCE_STRIDE / max(rates))
    return [max(1, round(rate * factor / step)) * step for rate in rates]


def untrained_rates(config: TrainConfig) -> list[str]:
    """Return a warning if crops are too small for atrous rates that whole images use.

    At a rate as large as the map, a 3x3 convolution sees padding around every pixel: its outer
    weights have no gradient and keep their initial values (DeepLabv3, section 3.3). On the larger
    map of a whole image they add noise.
    """
    crop, output_stride = config.data.crop_size, config.output_stride
    rates = () if isinstance(config.aspp, OwnCode) else config.aspp.atrous_rates or ()
    crop_map, image_map = (
        map_size(side, output_stride) for side in (crop, max(config.data.padded_size))
    )
    untrained = [
        rate for rate in rates if crop_map <= scale_atrous_rate(rate, output_stride) < image_map
    ]
    if not untrained:
        return []
    fitted = fitting_rates(rates, crop_size=crop, output_stride=output_stride)
    return [
        f"aspp.atrous_rates={_as_value(rates)}: at data.crop_size={crop} the last map has "
        f"{crop_map} x {crop_map} pixels, too few to train the outer weights of "
        f"{', '.join(map(str, untrained))}, which whole images use. Smaller rates fit: "
        f"aspp.atrous_rates={_as_value(fitted)}."
    ]


def _as_value(rates: Sequence[int]) -> str:
    """Return rates as they are typed."""
    return f"[{','.join(map(str, rates))}]"
