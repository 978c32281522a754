"""Reader of W&B's offline files: a log of protocol buffers in LevelDB's format."""

import struct
from collections.abc import Iterator
from pathlib import Path

from wandb.proto import wandb_internal_pb2

BLOCK, HEADER = 32768, 7


def records(path: Path) -> Iterator:
    """Yield the records of a ``.wandb`` file, in order."""
    data, position, parts = path.read_bytes(), HEADER, b""
    while position + HEADER <= len(data):
        block_rest = BLOCK - position % BLOCK
        if block_rest < HEADER:
            position += block_rest  # padding
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + HEADER])
        parts += data[position + HEADER : position + HEADER + length]
        position += HEADER + length
        if kind in (1, 4):  # a whole record, or the last part of one
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def summary(path: Path) -> dict[str, str]:
    """Return the summary values, as JSON."""
    values = {}
    for record in records(path):
        if record.WhichOneof("record_type") == "summary":
            for item in record.summary.update:
                values["/".join(item.nested_key) or item.key] = item.value_json
    return values
