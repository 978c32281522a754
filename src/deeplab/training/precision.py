"""Mixed precision in training steps only."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch.plugins import MixedPrecision

from deeplab.utils.hardware import Execution


class MixedPrecisionSteps(MixedPrecision):
    """Mixed precision whose validations compute in float32, as evaluations do."""

    @contextmanager
    def _float32(self) -> Iterator[None]:
        yield

    val_step_context = _float32
    test_step_context = _float32
    predict_step_context = _float32


def precision_arguments(execution: Execution) -> tuple[dict[str, Any], list[Any]]:
    """Return the arguments of Lightning's trainer for the precision, and its plugins."""
    if execution.validation_precision == execution.precision:
        return {"precision": execution.precision}, []
    plugin = MixedPrecisionSteps(execution.precision, execution.accelerator)  # type: ignore[arg-type]
    return {}, [plugin]
