"""What a configured network costs under inference strategies: counted, and measured if asked."""

import json
from dataclasses import replace
from typing import Any

import torch

from deeplab.builder import build_model, check_model
from deeplab.config import CostConfig, ModelConfig
from deeplab.cost.counting import Cost, measure_cost
from deeplab.cost.speed import measure_speed
from deeplab.errors import UserError
from deeplab.inference.predictor import Predictor
from deeplab.inference.strategy import Strategy, parse_strategy
from deeplab.inference.windows import starts


def run_cost(config: CostConfig) -> None:
    """Print parameters, multiply-adds and, with ``measure``, speed and memory."""
    size = config.input_size
    height, width = (size, size) if isinstance(size, int) else size
    rows = [_row(config, strategy, (height, width)) for strategy in _strategies(config)]
    parameters = [row.pop("parameters") for row in rows]
    report = {
        "parameters": parameters[0],
        **({"strategies": rows} if config.strategies else rows[0]),
        "input_size": [height, width],
        "num_classes": len(config.data.classes),
    }
    print(json.dumps(report) if config.format == "json" else table(report, rows))


def _strategies(config: CostConfig) -> list[Strategy]:
    if not config.strategies:
        return [Strategy(config.output_stride, config.scales, config.flip)]
    try:
        return [parse_strategy(s, output_stride=config.output_stride) for s in config.strategies]
    except ValueError as error:
        raise UserError(f"strategies: {error}.") from None


def strategy_cost(
    config: ModelConfig, strategy: Strategy, *, classes: int, size: tuple[int, int]
) -> Cost:
    """What one image of a size costs a configured network under a strategy, counted; with windows
    all of them, each as an image of its own."""
    here = config.model_copy(update={"output_stride": strategy.output_stride})
    model = check_model(here, num_classes=classes)
    window, count = strategy.window, 1
    if window:
        count = len(starts(size[0], window)) * len(starts(size[1], window))
        size = (min(size[0], window.size), min(size[1], window.size))
    cost = measure_cost(model, input_size=size, scales=strategy.scales, flip=strategy.flip)
    return replace(cost, conv=count * cost.conv, paper=count * cost.paper)


def _row(config: CostConfig, strategy: Strategy, size: tuple[int, int]) -> dict[str, Any]:
    classes = len(config.data.classes)
    cost = strategy_cost(config, strategy, classes=classes, size=size)
    row: dict[str, Any] = {
        "parameters": {
            "trainable": cost.trainable,
            "with_bn_statistics": cost.with_bn_statistics,
        },
        "multiply_adds": {"conv": cost.conv, "paper": cost.paper},
        **{key: strategy.record()[key] for key in ("name", "output_stride", "scales", "flip")},
    }
    if config.measure:
        from deeplab.assemble import build_execution  # imports Lightning

        execution = build_execution(config.trainer)
        model = build_model(config, num_classes=classes).to(execution.accelerator)
        speed = measure_speed(
            Predictor(model, [strategy]),
            input_size=size,
            device=execution.accelerator,
            dtype=execution.autocast_dtype,
        )
        name = torch.cuda.get_device_name() if execution.accelerator == "cuda" else "cpu"
        row["measured"] = {
            **speed.record(),
            "device": name,
            "threads": torch.get_num_threads(),
            "precision": execution.precision,
        }
    return row


def table(report: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """The report for a person: the network, then a line for each strategy."""
    parameters = report["parameters"]
    height, width = report["input_size"]
    lines = [
        f"parameters           {parameters['trainable']:>14,}",
        f"  with BN statistics {parameters['with_bn_statistics']:>14,}",
        "",
        f"{'':<19}multiply-adds, B",
        f"{'strategy':<14}{'convolutions':>13}{'paper rule':>13}",
    ]
    if "measured" in rows[0]:
        lines[-1] += f"{'ms/image':>12}{'images/s':>11}{'memory, MB':>13}"
    for row in rows:
        counted = row["multiply_adds"]
        line = f"{row['name']:<14}{counted['conv'] / 1e9:>13,.3f}{counted['paper'] / 1e9:>13,.3f}"
        if measured := row.get("measured"):
            memory = measured["peak_memory"]
            line += f"{1e3 * measured['latency']:>12,.1f}{measured['images_per_second']:>11,.2f}"
            line += f"{memory / 1e6:>13,.0f}" if memory else f"{'-':>13}"
        lines.append(line)
    lines.append("")
    lines.append(f"({height} x {width}, {report['num_classes']} classes)")
    if measured := rows[0].get("measured"):
        lines.append(
            f"(measured on {measured['device']}, {measured['threads']} threads, "
            f"{measured['precision']}, random weights; memory is the peak at one image)"
        )
    return "\n".join(lines)
