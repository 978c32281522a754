"""Process of an evaluation on several devices; see ``deeplab.evaluation.device_workers``."""

from collections.abc import Callable

import torch

from deeplab.evaluation.device_workers import Share, run_process
from deeplab.evaluation.evaluate import find_task
from deeplab.evaluation.loop import evaluate_share
from deeplab.tracking.console import silence_library_messages


def evaluate(share: Share, report: Callable[[int], None]) -> None:
    """Evaluate a share on its device."""
    silence_library_messages()
    task = find_task(share.config)
    if task.execution.accelerator == "cuda":
        torch.cuda.set_device((task.execution.indices or range(share.number + 1))[share.number])
    task.open_data()
    with task.execution.threads():
        evaluate_share(task, share, report)


if __name__ == "__main__":
    run_process(evaluate)
