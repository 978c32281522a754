"""Tiny archives in the layout of the published data sets, and a server for them."""

import hashlib
import io
import json
import tarfile
import zipfile
import zlib
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from threading import Event

import numpy as np
from PIL import Image
from scipy.io import savemat

from deeplab.data.class_set import write_mask
from support.servers import QuietHandler, listening

SIZE = (40, 56)


def pixels(seed: int, size=SIZE) -> np.ndarray:
    """Return blocks of random colors."""
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.array(Image.fromarray(blocks).resize(size[::-1]))


def labels(seed: int, size=SIZE) -> np.ndarray:
    """Return a label map: a square of one of VOC's classes on background."""
    rng = np.random.default_rng(seed)
    label = np.zeros(size, np.uint8)
    top, left = rng.integers(0, 10, 2)
    label[top : top + 25, left : left + 25] = rng.integers(1, 21)
    return label


def stable_number(name: str) -> int:
    """Return a number for a name that is the same in every process."""
    return zlib.crc32(name.encode()) % 1000


def _write_jpeg(path: Path, seed: int, size=SIZE):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(seed, size)).save(path, quality=90)


def _write_lines(path: Path, ids):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{i}\n" for i in ids))


VOC = {"train": ["2007_1", "2007_2", "2007_3"], "val": ["2008_1", "2008_2"], "test": ["2009_1"]}
SBD = {"train": ["2007_2", "2010_1", "2010_2"], "val": ["2008_2", "2010_3"]}
TRAINAUG = ["2007_1", "2007_2", "2007_3", "2010_1", "2010_2", "2010_3"]


def voc_archives(folder: Path) -> dict[str, Path]:
    """Write VOC's trainval and test archives and SBD's, with extra files as in the real ones."""
    work = folder / "work"
    voc = work / "trainval" / "VOCdevkit" / "VOC2012"
    lists = voc / "ImageSets" / "Segmentation"
    for split in ("train", "val"):
        _write_lines(lists / f"{split}.txt", VOC[split])
    _write_lines(lists / "trainval.txt", sorted(VOC["train"] + VOC["val"]))
    _write_lines(voc / "ImageSets" / "Main" / "train.txt", ["2010_9"])
    for seed, name in enumerate(sorted({*VOC["train"], *VOC["val"], *SBD["train"], *SBD["val"]})):
        _write_jpeg(voc / "JPEGImages" / f"{name}.jpg", seed)
        (voc / "Annotations").mkdir(exist_ok=True)
        (voc / "Annotations" / f"{name}.xml").write_text("<annotation/>")
        if name in VOC["train"] + VOC["val"]:
            label = labels(seed)
            label[:3] = 255
            write_mask(voc / "SegmentationClass" / f"{name}.png", label)
            write_mask(voc / "SegmentationObject" / f"{name}.png", label)
    test = work / "test" / "VOCdevkit" / "VOC2012"
    _write_lines(test / "ImageSets" / "Segmentation" / "test.txt", VOC["test"])
    _write_jpeg(test / "JPEGImages" / "2009_1.jpg", 99)
    sbd = work / "sbd" / "benchmark_RELEASE" / "dataset"
    for seed, (split, ids) in enumerate(SBD.items()):
        _write_lines(sbd / f"{split}.txt", ids)
        for name in ids:
            _write_jpeg(sbd / "img" / f"{name}.jpg", seed)
            for kind in ("cls", "inst"):
                (sbd / kind).mkdir(exist_ok=True)
                fields = {"Boundaries": 0, "Segmentation": labels(stable_number(name)),
                          "CategoriesPresent": 0}  # fmt: skip
                savemat(sbd / kind / f"{name}.mat", {"GTcls": fields}, do_compression=True)
    archives = {
        "trainval": ("VOCtrainval_11-May-2012.tar", "w"),
        "test": ("VOC2012test.tar", "w"),
        "sbd": ("benchmark.tgz", "w:gz"),
    }
    for part, (name, mode) in archives.items():
        with tarfile.open(folder / name, mode) as tar:
            for path in sorted((work / part).iterdir()):
                tar.add(path, path.name)
    return {part: folder / name for part, (name, _) in archives.items()}


def coco_content(images: dict[int, tuple[str, list]]) -> dict:
    """Return the content of an instances file.

    Args:
        images: file name and annotations of each image id.
    """
    height, width = SIZE
    annotations = []
    for image, (_, shapes) in images.items():
        for category, segmentation, crowd in shapes:
            annotations.append({
                "id": len(annotations) + 1, "image_id": image, "category_id": category,
                "segmentation": segmentation, "iscrowd": crowd, "area": 1, "bbox": [0, 0, 1, 1],
            })  # fmt: skip
    return {
        "images": [
            {"id": i, "file_name": name, "height": height, "width": width}
            for i, (name, _) in images.items()
        ],
        "annotations": annotations,
        "categories": [{"id": c, "name": str(c)} for c in (1, 3, 18, 47, 62)],
    }


def coco_archives(folder: Path, count: int = 3) -> dict[str, Path]:
    """Write the images of train and val and their instances as zip archives.

    In each split the first image has too few pixels of VOC's classes, the second has none, the
    others have enough.
    """
    box = [[2, 2, 52, 2, 52, 38, 2, 38]]
    small = [[2, 2, 12, 2, 12, 12, 2, 12]]
    height, width = SIZE
    crowd = {"size": [height, width], "counts": [0, 3 * height, height * (width - 3)]}
    folder.mkdir(parents=True, exist_ok=True)
    archives = {}
    instances = {}
    for start, split in ((1, "train2017"), (100, "val2017")):
        images = {}
        with zipfile.ZipFile(folder / f"{split}.zip", "w") as archive:
            for i in range(start, start + count + 2):
                name = f"{i:012}.jpg"
                shapes = {0: [(1, small, 0)], 1: [(47, box, 0)]}.get(
                    i - start, [(18, box, 0), (1, crowd, 1)]
                )
                images[i] = (name, shapes)
                data = io.BytesIO()
                Image.fromarray(pixels(i)).save(data, "JPEG")
                archive.writestr(f"{split}/{name}", data.getvalue())
        instances[split] = coco_content(images)
        archives[split] = folder / f"{split}.zip"
    path = folder / "annotations_trainval2017.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for split, content in instances.items():
            archive.writestr(f"annotations/instances_{split}.json", json.dumps(content))
            archive.writestr(f"annotations/captions_{split}.json", "{}")
    archives["annotations2017"] = path
    return archives


CITYSCAPES = {"train": "aachen", "val": "bochum", "test": "berlin", "train_extra": "nuernberg"}


def cityscapes_archives(folder: Path, size=(64, 128)) -> dict[str, Path]:
    """Write the fine and coarse archives; masks hold label ids 0 to 33."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = np.arange(size[0] * size[1], dtype=np.int64).reshape(size) // 97 % 34
    parts = {
        "leftImg8bit_trainvaltest": ("leftImg8bit", ("train", "val", "test")),
        "gtFine_trainvaltest": ("gtFine", ("train", "val", "test")),
        "leftImg8bit_trainextra": ("leftImg8bit", ("train_extra",)),
        "gtCoarse": ("gtCoarse", ("train", "val", "train_extra")),
    }
    archives = {}
    for part, (kind, splits) in parts.items():
        archives[part] = folder / f"{part}.zip"
        with zipfile.ZipFile(archives[part], "w") as archive:
            archive.writestr("README", "read me")
            for split in splits:
                for number in range(2):
                    stem = f"{CITYSCAPES[split]}_{number:06}_000019"
                    data = io.BytesIO()
                    if kind == "leftImg8bit":
                        Image.fromarray(pixels(stable_number(f"{split}{number}"), size)).save(
                            data, "PNG"
                        )
                        name = f"{stem}_leftImg8bit.png"
                    else:
                        Image.fromarray(ids.astype(np.uint8)).save(data, "PNG")
                        name = f"{stem}_{kind}_labelIds.png"
                        color = name.replace("labelIds", "color")
                        archive.writestr(f"{kind}/{split}/{CITYSCAPES[split]}/{color}", b"x")
                    archive.writestr(f"{kind}/{split}/{CITYSCAPES[split]}/{name}", data.getvalue())
    return archives


def md5(path: Path) -> str:
    """Return a file's MD5 in the format of the configs."""
    return f"md5:{hashlib.md5(path.read_bytes()).hexdigest()}"


class FolderHandler(QuietHandler, SimpleHTTPRequestHandler):
    """Request handler that serves a folder and records the requested paths.

    It sends the begin of each file, and the rest when it may ``go_on``.
    """

    requested: list[str]
    go_on: Event

    def do_GET(self):
        self.requested.append(self.path)
        super().do_GET()

    def copyfile(self, source, outputfile):
        try:
            while block := source.read(4096):
                outputfile.write(block)
                self.go_on.wait()
        except OSError:  # the client closed the connection
            pass


@contextmanager
def serving_folder(folder: Path, go_on: Event | None = None):
    """Yield the address of a server and the list of requested paths."""
    requested: list[str] = []
    if go_on is None:
        go_on = Event()
        go_on.set()
    handler = type("Handler", (FolderHandler,), {"requested": requested, "go_on": go_on})

    def build_handler(*arguments):
        return handler(*arguments, directory=str(folder))

    with listening(build_handler) as address:
        yield address, requested
