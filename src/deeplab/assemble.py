"""From the checked config to what a run needs besides the network: images, recipe, machine."""

from deeplab.builder import keywords
from deeplab.config import ShapesConfig, StageConfig, TrainConfig, TrainerConfig
from deeplab.data.datamodule import SegmentationData
from deeplab.data.shapes import ShapesSpec, ensure_shapes
from deeplab.data.voc import VOCTree
from deeplab.hardware import Execution, choose_execution
from deeplab.module import Recipe


def build_recipe(stage: StageConfig) -> Recipe:
    """The stage as the module takes it."""
    return Recipe(**keywords(stage, without=("batch_size",)))


def padding_colour(config: TrainConfig) -> tuple[int, int, int]:
    """The backbone's mean pixel in uint8: what images are padded with."""
    red, green, blue = (round(value) for value in config.backbone.mean)
    return red, green, blue


def data_tree(config: TrainConfig) -> VOCTree:
    """The images that the config names; scenes are drawn if they are not there yet."""
    if isinstance(config.data, ShapesConfig):
        return VOCTree(ensure_shapes(config.data.root, shapes_spec(config.data)))
    return VOCTree(config.data.root)


def shapes_spec(data: ShapesConfig) -> ShapesSpec:
    """The part of the config that scenes depend on."""
    return ShapesSpec(
        classes=data.classes,
        train=data.train,
        val=data.val,
        size_min=data.size_min,
        size_max=data.size_max,
        objects_max=data.objects_max,
        seed=data.scene_seed,
    )


def build_data(config: TrainConfig, tree: VOCTree, *, workers: int) -> SegmentationData:
    """The DataModule that the config describes."""
    data = config.data
    return SegmentationData(
        tree,
        num_classes=len(data.classes),
        train_split=data.train_split,
        val_split=data.val_split,
        crop_size=data.crop_size,
        scale_min=data.scales.min,
        scale_max=data.scales.max,
        scale_step=data.scales.step,
        flip=data.flip,
        eval_size=data.eval_size,
        fill=padding_colour(config),
        steps=config.stage.steps,
        batch_size=config.stage.batch_size,
        eval_batch_size=data.eval_batch_size,
        seed=config.seed,
        workers=workers,
    )


def build_execution(trainer: TrainerConfig) -> Execution:
    """What the trainer's ``auto`` stands for here."""
    return choose_execution(
        accelerator=trainer.accelerator,
        devices=trainer.devices,
        precision=trainer.precision,
        memory_format=trainer.memory_format,
        compile=trainer.compile,
        num_workers=trainer.num_workers,
    )
