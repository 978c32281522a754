"""Cost of a configured network under inference strategies, counted and optionally measured."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from deeplab.config.build_model import build_model
from deeplab.config.schema.scripts import CostConfig
from deeplab.evaluation.strategy_cost import strategy_cost
from deeplab.inference.predictor import Predictor
from deeplab.inference.speed import Speed, measure_speed
from deeplab.inference.strategy import Strategy, parse_strategy
from deeplab.utils.errors import UserError


def run_cost(config: CostConfig) -> None:
    """Print parameters, multiply-adds and, with ``measure_speed``, speed and memory."""
    height, width = size = _input_size(config)
    strategies = _strategies(config)
    rows = [_count(config, strategy, size) for strategy in strategies]
    parameters = [row.pop("parameters") for row in rows]
    classes = len(config.data.classes)
    if config.format == "table":  # printed first: measuring a large input may kill the process
        print(format_table(parameters[0], rows))
        print(f"\n({height} x {width}, {classes} classes)", flush=True)
    if config.measure_speed:
        measurements = list(_measure(config, strategies, size))
        rows = [{**row, "measured": m} for row, m in zip(rows, measurements, strict=True)]
    if config.format == "json":
        report = {
            "parameters": parameters[0],
            **({"strategies": rows} if config.strategies else rows[0]),
            "input_size": [height, width],
            "num_classes": classes,
        }
        print(json.dumps(report))


def _input_size(config: CostConfig) -> tuple[int, int]:
    size = config.input_size
    return (size, size) if isinstance(size, int) else size


def _strategies(config: CostConfig) -> list[Strategy]:
    scales = config.scales
    if not config.strategies:
        if len(set(scales)) < len(scales) or not all(0.1 <= scale <= 8 for scale in scales):
            raise UserError(
                f"scales={_format_scales(scales)}: scales must be different numbers from 0.1 to 8."
            )
        return [Strategy(config.output_stride, scales, config.flip)]
    if scales != (1.0,) or config.flip:
        raise UserError(
            "strategies: scales and flip are parts of a strategy's name, such as os8-ms-flip or "
            "os16-x0.75+1+1.25. Leave out scales=... and flip=..."
        )
    try:
        return [parse_strategy(s, output_stride=config.output_stride) for s in config.strategies]
    except ValueError as error:
        raise UserError(f"strategies: {error}.") from None


def _format_scales(scales: Sequence[float]) -> str:
    return f"[{','.join(f'{scale:g}' for scale in scales)}]"


def _count(config: CostConfig, strategy: Strategy, size: tuple[int, int]) -> dict[str, Any]:
    cost = strategy_cost(config, strategy, classes=len(config.data.classes), size=size)
    return {
        "parameters": {
            "trainable": cost.trainable,
            "with_bn_statistics": cost.with_bn_statistics,
        },
        "multiply_adds": {"conv": cost.conv, "paper": cost.paper},
        **{key: strategy.record()[key] for key in ("name", "output_stride", "scales", "flip")},
    }


def _measure(
    config: CostConfig, strategies: Sequence[Strategy], size: tuple[int, int]
) -> Iterator[dict[str, Any]]:
    """Yield speed and memory of each strategy; a table prints each line as soon as it is known."""
    from deeplab.config.execution import build_execution  # imports Lightning

    execution = build_execution(config.trainer)
    device = execution.accelerator
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    threads, precision = torch.get_num_threads(), execution.precision
    as_table = config.format == "table"
    if as_table:
        print(f"\n{'strategy':<14}{'ms/image':>12}{'images/s':>11}{'memory, MB':>13}", flush=True)
    for strategy in strategies:
        with _memory_errors(size):
            model = build_model(config, num_classes=len(config.data.classes)).to(device)
            speed = measure_speed(
                Predictor(model, [strategy]),
                input_size=size,
                device=device,
                dtype=execution.autocast_dtype,
            )
        if as_table:
            print(_speed_line(strategy, speed), flush=True)
        yield {**speed.record(), "device": name, "threads": threads, "precision": precision}
    if as_table:
        print(
            f"\n(measured on {name}, {threads} threads, {precision}, random weights; memory is the "
            "peak at one image)"
        )


@contextmanager
def _memory_errors(size: tuple[int, int]) -> Iterator[None]:
    """Turn an out-of-memory error into a UserError."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch raises RuntimeError for both devices
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        raise UserError(
            f"input_size=[{size[0]},{size[1]}]: needs more memory than there is. Measure a smaller "
            "input, or only count (measure_speed=false)."
        ) from None


def _speed_line(strategy: Strategy, speed: Speed) -> str:
    peak = speed.peak_memory_bytes
    memory = f"{peak / 1e6:>13,.0f}" if peak else f"{'-':>13}"
    return (
        f"{strategy.name:<14}{1e3 * speed.latency:>12,.1f}{speed.images_per_second:>11,.2f}{memory}"
    )


def format_table(parameters: Mapping[str, int], rows: Sequence[Mapping[str, Any]]) -> str:
    """Format the counts as a table: the parameters, then a line per strategy."""
    lines = [
        f"parameters           {parameters['trainable']:>14,}",
        f"  with BN statistics {parameters['with_bn_statistics']:>14,}",
        "",
        f"{'':<19}multiply-adds, B",
        f"{'strategy':<14}{'conv, matrix':>13}{'paper rule':>13}",
    ]
    for row in rows:
        counted = row["multiply_adds"]
        conv, paper = counted["conv"] / 1e9, counted["paper"] / 1e9
        lines.append(f"{row['name']:<14}{conv:>13,.3f}{paper:>13,.3f}")
    return "\n".join(lines)
