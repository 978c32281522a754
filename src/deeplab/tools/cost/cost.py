"""Cost of a configured network under inference strategies, counted and optionally measured."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from deeplab.config.build_model import build_model
from deeplab.config.schema.scripts import CostConfig
from deeplab.evaluation.strategy_cost import strategy_cost
from deeplab.inference.predictor import Predictor
from deeplab.inference.speed import Speed, measure_speed
from deeplab.inference.strategy import Strategy, parse_strategy, scales_problem
from deeplab.models.flops import Cost
from deeplab.tracking.result import COST_LABEL, PAPER_COST_LABEL
from deeplab.utils.errors import UserError
from deeplab.utils.free_memory import is_out_of_memory
from deeplab.utils.hardware import Execution
from deeplab.utils.text_table import Column, TextTable, number_column


def run_cost(config: CostConfig) -> None:
    """Print parameters, multiply-adds and, with ``measure_speed``, speed and memory."""
    height, width = size = _input_size(config)
    strategies = _strategies(config)
    execution = _execution(config) if config.measure_speed else None
    classes = len(config.data.classes)
    if not classes:
        raise UserError(
            "data.classes: not known without the data. Set data.classes=[a,b], or choose another "
            "data set, such as data=voc."
        )
    costs = [strategy_cost(config, s, classes=classes, size=size) for s in strategies]
    rows = [_row(strategy, cost) for strategy, cost in zip(strategies, costs, strict=True)]
    if config.format == "table":  # printed first: measuring a large input may kill the process
        print(format_table(strategies, costs))
        network = f"backbone.family={config.backbone.family}, data.name={config.data.name}"
        print(f"\n({network}: {width} x {height} pixels, {classes} classes)", flush=True)
    if execution:
        measurements = list(_measure(config, strategies, size, execution))
        rows = [{**row, "measured": m} for row, m in zip(rows, measurements, strict=True)]
    if config.format == "json":
        report = {
            "parameters": {
                "trainable": costs[0].trainable,
                "with_bn_statistics": costs[0].with_bn_statistics,
            },
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
        if problem := scales_problem(scales):
            raise UserError(f"scales={_format_scales(scales)}: {problem}.")
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


def _row(strategy: Strategy, cost: Cost) -> dict[str, Any]:
    """Return the part of the JSON report that differs between strategies."""
    return {
        "multiply_adds": {"conv": cost.conv, "paper": cost.paper},
        "name": strategy.name,
        "output_stride": strategy.output_stride,
        "scales": list(strategy.scales),
        "flip": strategy.flip,
    }


def _execution(config: CostConfig) -> Execution:
    from deeplab.config.execution import inference_execution  # imports Lightning

    return inference_execution(config.trainer)


def _measure(
    config: CostConfig,
    strategies: Sequence[Strategy],
    size: tuple[int, int],
    execution: Execution,
) -> Iterator[dict[str, Any]]:
    """Yield speed and memory of each strategy; a table's user sees each as soon as it is known."""
    device = execution.accelerator
    name = torch.cuda.get_device_name() if device == "cuda" else device
    threads, precision = execution.num_threads, execution.precision
    as_table = config.format == "table"
    if as_table:
        print(
            f"\nMeasuring on {name}, {threads} threads, {precision}, random weights; memory is the "
            "peak at one image:",
            flush=True,
        )
    with _memory_errors(size), execution.threads():
        model = build_model(config, num_classes=len(config.data.classes)).to(device)
        for strategy in strategies:
            speed = measure_speed(
                Predictor(model, [strategy]),
                input_size=size,
                device=device,
                dtype=execution.autocast_dtype,
            )
            if as_table:
                print(f"  {strategy.name}: {_describe(speed)}", flush=True)
            yield {**speed._asdict(), "device": name, "threads": threads, "precision": precision}


@contextmanager
def _memory_errors(size: tuple[int, int]) -> Iterator[None]:
    """Turn an out-of-memory error into a UserError."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(
            f"input_size=[{size[0]},{size[1]}]: needs more memory than there is. Measure a smaller "
            "input, or only count (measure_speed=false)."
        ) from None


def _describe(speed: Speed) -> str:
    peak = speed.peak_memory_bytes
    memory = f", {peak / 1e6:,.0f} MB" if peak else ""
    return f"{1e3 * speed.latency:,.1f} ms/image, {speed.images_per_second:,.2f} images/s{memory}"


def format_table(strategies: Sequence[Strategy], costs: Sequence[Cost]) -> str:
    """Format the counts as two tables: the parameters, and the strategies."""
    counts = [
        ("trainable", costs[0].trainable),
        ("with BN statistics", costs[0].with_bn_statistics),
    ]
    columns = [Column("parameters"), number_column("number", ",.0f")]
    adds_columns = [
        Column("strategy"),
        number_column(COST_LABEL, ",.3f", unit=1e9),
        number_column(PAPER_COST_LABEL, ",.3f", unit=1e9),
    ]
    adds = [(s.name, cost.conv, cost.paper) for s, cost in zip(strategies, costs, strict=True)]
    tables = TextTable.from_values(columns, counts), TextTable.from_values(adds_columns, adds)
    return "\n\n".join(table.as_text() for table in tables)
