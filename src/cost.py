"""Print parameters and multiply-adds of a network; see ``conf/cost.yaml``."""

import json
from typing import Any

from omegaconf import DictConfig

from deeplab.cli import parse, run_script


def main(config: DictConfig) -> None:
    """Compose the network on the meta device and count."""
    from deeplab.config import CostConfig

    checked = parse(CostConfig, config)
    import torch

    from deeplab.builder import build_model
    from deeplab.cost import measure_cost

    size = checked.input_size
    height, width = (size, size) if isinstance(size, int) else size
    with torch.device("meta"):
        model = build_model(checked, num_classes=len(checked.data.classes))
    cost = measure_cost(model, input_size=(height, width), scales=checked.scales, flip=checked.flip)
    report = {
        "parameters": {
            "trainable": cost.trainable,
            "with_bn_statistics": cost.with_bn_statistics,
        },
        "multiply_adds": {"conv": cost.conv, "paper": cost.paper},
        "input_size": [height, width],
        "scales": list(checked.scales),
        "flip": checked.flip,
        "output_stride": checked.output_stride,
        "num_classes": model.num_classes,
    }
    print(json.dumps(report) if checked.format == "json" else table(report))


def table(report: dict[str, Any]) -> str:
    """The report for a person."""
    parameters, multiply_adds = report["parameters"], report["multiply_adds"]
    height, width = report["input_size"]
    strategy = f"{height} x {width}, output stride {report['output_stride']}, "
    strategy += f"scales {', '.join(f'{s:g}' for s in report['scales'])}"
    strategy += ", flipped too" if report["flip"] else ""
    return "\n".join(
        (
            f"parameters     {parameters['trainable']:>16,}",
            f"  with BN statistics {parameters['with_bn_statistics']:>12,}",
            f"multiply-adds  {multiply_adds['conv'] / 1e9:>13,.3f} B  convolutions only",
            f"               {multiply_adds['paper'] / 1e9:>13,.3f} B  by the paper's rule",
            f"({strategy}, {report['num_classes']} classes)",
        )
    )


if __name__ == "__main__":
    run_script(main, "cost")
