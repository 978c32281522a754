"""Tar files of labeled images."""

import io
import tarfile

import numpy as np
from PIL import Image


def jpeg(number, size=40):
    """Return a JPEG file whose pixels depend on a number."""
    pixels = np.random.default_rng(number).integers(0, 256, (size, size + number % 5, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def write_tar(path, members):
    """Write a tar file of these members: names with their content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def samples(labels, first=0):
    """Return the members of one sample for each label: an image, its label and a further file."""
    for number, label in enumerate(labels, first):
        yield f"{number:06}.jpg", jpeg(number)
        yield f"{number:06}.cls", str(label).encode()
        yield f"{number:06}.json", b"{}"


def shard_tree(root, labels=(("2", "0", "1"), ("0", "0")), val=("1", "0")):
    """Write a folder of shards: one of training for each sequence of labels, one of validation."""
    first = 0
    for number, of_shard in enumerate(labels):
        write_tar(root / f"set-train-{number:04}.tar", samples(of_shard, first))
        first += len(of_shard)
    write_tar(root / "set-validation-00.tar", samples(val, 1000))
    return root
