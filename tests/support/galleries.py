"""Evaluations written without a network."""

import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from deeplab.data.class_set import write_mask
from deeplab.evaluation.evaluation_folder import EvaluationFolder, write_images
from deeplab.inference.strategy import parse_strategy
from deeplab.metrics.image_confusions import ImageConfusions
from deeplab.metrics.iou import class_iou
from deeplab.tracking.result import Result
from deeplab.tracking.run_folder import RunFolder, write_config
from deeplab.utils.files import write_text
from support.configs import train_config
from support.results import make_protocol

NAMES = ("background", "cat & <dog>", '"quoted"', "absent")
IDS = ("plain", "folder/inside", "a&b<i>c\"d'e", "ignored", "tall")
SIZES = {"tall": (90, 30)}


def write_evaluation(
    root: Path,
    run: str,
    *,
    seed: int = 0,
    names: tuple[str, ...] = NAMES,
    ids: tuple[str, ...] = IDS,
    strategy: str = "os16",
    split: str = "val",
) -> EvaluationFolder:
    """Write a run below ``root/runs`` with an evaluation of the images below ``root/data``.

    The truth is the same for all runs; predictions are the truth with pixels changed by the seed.
    """
    folder = RunFolder(root / "runs" / run)
    write_config(folder.config, _config(root / "data", names))
    evaluation = EvaluationFolder(folder.path / "evaluations" / f"{split}-weights-{strategy}")
    write_text(root / "data" / "ImageSets" / "Segmentation" / f"{split}.txt", "\n".join(ids))
    confusion = []
    for index, image_id in enumerate(ids):
        truth = _write_image_and_mask(root / "data", image_id)
        rng = np.random.default_rng((seed, index))
        prediction = truth.copy()
        prediction[truth == 255] = 0
        prediction[: int(rng.integers(0, 20))] = rng.integers(0, 3)
        write_mask(evaluation.prediction(image_id), prediction)
        labeled = truth != 255
        pairs = len(names) * truth[labeled].astype(int) + prediction[labeled]
        confusion.append(np.bincount(pairs, minlength=len(names) ** 2).reshape(len(names), -1))
    write_images(evaluation, list(ids), ImageConfusions.stack(confusion, len(names)))
    Result(**_result(run, names, split, strategy, np.stack(confusion))).write(evaluation.result)
    return evaluation


def _config(data_root: Path, names: tuple[str, ...]):
    config = train_config("data=voc", "logger=csv", f"data.root={data_root}")
    return config.model_copy(update={"data": config.data.model_copy(update={"classes": names})})


def _write_image_and_mask(root: Path, image_id: str) -> np.ndarray:
    """Write an image and its mask, which depend on the id alone; return the mask."""
    image_seed = zlib.crc32(image_id.encode())
    size = SIZES.get(image_id, (40, 50))
    truth = np.zeros(size, np.uint8)
    truth[5:20, 5:20], truth[22:35, 10:28], truth[21] = 1, 2 - image_seed % 2, 255
    if image_id == "ignored":
        truth[:] = 255
    image = np.random.default_rng(image_seed).integers(0, 256, (*size, 3)).astype(np.uint8)
    image_path = root / "JPEGImages" / f"{image_id}.jpg"
    image_path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(image_path)
    write_mask(root / "SegmentationClass" / f"{image_id}.png", truth)
    return truth


def _result(run, names, split, strategy, confusion):
    total = confusion.sum(0)
    iou = class_iou(total)
    return {
        "run": run,
        "weights": "weights.safetensors",
        "protocol": make_protocol(
            split=split,
            images=len(confusion),
            content="the same",
            classes=names,
            padded_to=(65, 65),
            strategy=parse_strategy(strategy, output_stride=16),
        ),
        "scored": True,
        "scores": {
            "mIoU": 100 * float(np.nanmean(iou)),
            "pixel_accuracy": 100 * float(np.trace(total) / total.sum()),
        },
        "class_IoU": dict(zip(names, map(float, 100 * iou), strict=True)),
    }
