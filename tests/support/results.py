"""Protocols and results as evaluations write them."""

from deeplab.tracking.evaluation_protocol import IGNORED_LABEL_RULE, Protocol, StrategyRecord


def make_protocol(*, strategy, **values):
    """Return the protocol of a segmentation network under a ``Strategy``."""
    fields = {"ignored_label": IGNORED_LABEL_RULE, "precision": "32-true"} | values
    return Protocol(strategy=StrategyRecord.of(strategy), **fields)
