"""Keys of the scripts' config files, checked before anything starts.

Each class is the definition of its keys: types, bounds, defaults and meanings. The files in
``conf/`` hold the help text, the choice of the groups, and what differs.
"""

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, field_validator, model_validator

from deeplab.config.schema.loss import Loss
from deeplab.config.schema.model import ModelConfig
from deeplab.config.schema.run import (
    ClassificationData,
    OptimizationConfig,
    SegmentationData,
    has_labels,
)
from deeplab.config.schema.stage import ClassifierRecipe, Recipe
from deeplab.config.schema.trainer import TrainerSettings
from deeplab.utils.constants import SUGGESTED_WINDOW
from deeplab.utils.cores import cpu_count
from deeplab.utils.program import command
from deeplab.utils.settings import (
    AboveZero,
    Bool,
    FilePath,
    Int,
    Natural,
    OneOrMore,
    OutputStride,
    Overlap,
    Paths,
    Positive,
    Settings,
    Side,
    SplitName,
    Text,
    Workers,
)


class CostConfig(ModelConfig, OptimizationConfig):
    """Parameters and multiply-adds of a network."""

    data: SegmentationData
    stage: Recipe
    loss: Loss
    input_size: Side | tuple[Side, Side] = 513
    """Side of the image in pixels, or height and width."""
    scales: Annotated[tuple[Annotated[AboveZero, Field(le=16)], ...], Field(min_length=1)] = (1.0,)
    """Scales of the image; the paper's multi-scale: ``[0.5,0.75,1.0,1.25,1.5,1.75]``."""
    flip: Bool = False
    """Predict on the mirrored image too."""
    strategies: OneOrMore | None = None
    """Inference strategies instead of scales and flip, as ``[single-scale,os8-ms-flip]``."""
    measure_speed: Bool = False
    """Measure milliseconds, images per second and memory on this machine too."""
    trainer: TrainerSettings
    format: Literal["table", "json"] = "table"
    """Form of the output."""

    @model_validator(mode="before")
    @classmethod
    def _check_segmentation(cls, values: Any) -> Any:
        if has_labels(values["data"].get("name")):
            raise ValueError(
                f"data: {command('cost')} counts segmentation networks only. The cost of a "
                "classifier is in "
                f"the result that {command('evaluate')} writes"
            )
        return values


class _PrepareConfig(ModelConfig, OptimizationConfig):
    """Keys of ``conf/prepare.yaml`` for every data set."""

    loss: Loss
    source: FilePath | None = None
    """Folder or archive with files that you have; nothing is downloaded then."""
    download_dir: FilePath = "data/downloads"
    """Folder in which archives are kept."""
    check: Bool = False
    """Run the doctor, which decodes every file and reports errors."""
    splits: Annotated[tuple[SplitName, ...], Field(min_length=1)] | None = None
    """Splits for the doctor; null: the training and the validation split."""
    report_dir: FilePath = "data/reports"
    """Folder of the doctor's report."""
    num_workers: Workers | Literal["auto"] = "auto"
    """Number of processes; auto: one per core."""
    overwrite: Bool = False
    """Prepare again what is done."""
    enable_progress_bar: Bool = True
    """Show progress: bars in a terminal, elsewhere lines."""
    automatic: tuple[Text, ...] = ()
    """Keys that were ``auto``, whose values a training chooses."""

    @property
    def data_choice(self) -> str:
        """Name of the data set's config, for messages."""
        from hydra.core.hydra_config import HydraConfig

        return str(HydraConfig.get().runtime.choices["data"])

    @property
    def num_processes(self) -> int:
        """Number of processes that ``num_workers`` stands for."""
        return cpu_count() if self.num_workers == "auto" else self.num_workers


class PrepareConfig(_PrepareConfig):
    """Preparation of a data set."""

    data: SegmentationData
    stage: Recipe


class PrepareClassificationConfig(_PrepareConfig):
    """Keys of ``conf/prepare.yaml`` for images with labels."""

    data: ClassificationData
    stage: ClassifierRecipe


class DataRootConfig(Settings):
    """Current location of a recorded run's images."""

    root: FilePath | None = None
    """Current folder of the images; null: where the run found them."""


class EvaluationDataConfig(DataRootConfig):
    """Current location of a recorded run's images, and the treatment of bad files."""

    on_error: Literal["stop", "skip"] | None = None
    """Reaction to a bad file: stop or skip it; null: as in training."""


class WindowConfig(Settings):
    """Windows of images that are too large for memory."""

    window_size: Side | None = None
    """Side in pixels: cut larger images into windows, to save memory; null: whole images."""
    overlap: Overlap = 0.33
    """Least fraction of a window's side that neighbors have in common."""

    @model_validator(mode="after")
    def _check_overlap(self) -> Self:
        default = type(self).model_fields["overlap"].default
        if self.window_size is None and self.overlap != default:
            raise ValueError(
                f"overlap={self.overlap}: it applies to windows, and window_size is null. Set "
                f"window_size as well, for example window_size={SUGGESTED_WINDOW}"
            )
        return self


class AutoWindowConfig(WindowConfig):
    """Windows that predictions choose where an image is too large for the free memory."""

    window_size: Side | Literal["auto"] | None = "auto"  # type: ignore[assignment]
    """Side in pixels: cut larger images into windows; auto: as large ones as memory holds where it
    does not hold the whole image; null: whole images."""

    @property
    def fixed_window(self) -> int | None:
        """The side that was set; None for ``auto`` and for whole images."""
        return None if self.window_size == "auto" else self.window_size

    @property
    def auto_overlap(self) -> float | None:
        """The overlap of windows that are chosen; None if none are."""
        return self.overlap if self.window_size == "auto" else None


class EvaluateConfig(WindowConfig):
    """Evaluation of a trained network."""

    run: FilePath
    """Run folder, a checkpoint in one, ``hf://user/name`` on the Hugging Face hub, or a network of
    the authors such as ``deeplabv3plus_xception65_voc``."""
    strategies: OneOrMore = ("single-scale",)
    """Inference strategies, evaluated in one pass over the data."""
    output_stride: OutputStride | None = None
    """Output stride of strategies that name none; null: that of training."""
    split: SplitName | None = None
    """Split to evaluate; null: the run's validation split."""
    trimap_widths: Annotated[
        tuple[Annotated[AboveZero, Field(le=10**4)], ...],
        Field(min_length=1, max_length=100),
        BeforeValidator(lambda value: [value] if isinstance(value, int | float) else value),
    ] = (1, 2, 3, 5, 7, 10, 15, 20, 30, 40)
    """Widths of the bands around object borders, in pixels."""
    save_predictions: Bool = True
    """Keep the label maps."""
    measure_speed: Bool = False
    """Measure milliseconds, images per second and memory of each strategy too."""
    submission: Literal["voc", "cityscapes"] | None = None
    """Test server to pack the predictions for."""
    log_to_wandb: Bool = True
    """Add the results to the W&B run of the training, if it has one."""
    overwrite: Bool = False
    """Evaluate again what is done."""
    trust_remote_code: Bool = False
    """Import the classes that the run's config names, which may be another's."""
    data: EvaluationDataConfig = EvaluationDataConfig()
    trainer: TrainerSettings = TrainerSettings()

    @model_validator(mode="after")
    def _check_submission(self) -> Self:
        if self.submission and not self.save_predictions:
            raise ValueError(
                f"submission={self.submission}: it packs the predictions. Set save_predictions=true"
            )
        return self

    @field_validator("trimap_widths")
    @classmethod
    def _check_ascending(cls, widths: tuple[float, ...]) -> tuple[float, ...]:
        if list(widths) != sorted(set(widths)):
            raise ValueError("the widths, in pixels, must rise from narrow to wide")
        return widths


class CompareConfig(Settings):
    """Comparison of evaluations."""

    runs: Paths
    """Run folders (all their evaluations) or evaluation folders."""
    output: FilePath = "comparison"
    """Folder of the table and the figures."""


class PlanConfig(Settings):
    """Keys of ``deeplab ablations plan`` itself."""

    measure_speed: Bool = False
    """Measure training steps on random images, to tell how long the work takes here."""


class ReportConfig(Settings):
    """Keys of ``deeplab ablations report`` itself."""

    runs_dir: FilePath = "runs"
    """Folder of all runs."""


class PredictConfig(AutoWindowConfig):
    """Prediction on images and videos."""

    run: FilePath
    """Run folder, a checkpoint in one, ``hf://user/name`` on the Hugging Face hub, or a network of
    the authors such as ``deeplabv3plus_xception65_voc``."""
    input: Paths
    """Image, video, folder, quoted pattern, or a list of these."""
    output: FilePath = "predictions"
    """Folder of the results; earlier results are replaced."""
    strategy: Text = "single-scale"
    """Inference strategy; ``x0.25`` gives the network a quarter of the size (its scale), for photos
    much larger than the training images."""
    save_overlay: Bool = True
    """Write images with the colors of their classes."""
    save_probabilities: Bool = False
    """Write the probabilities of all classes, for images only."""
    save_frames: Bool = False
    """Write the label maps of a video's frames."""
    trust_remote_code: Bool = False
    """Import the classes that the run's config names, which may be another's."""
    trainer: TrainerSettings = TrainerSettings()


class DemoConfig(AutoWindowConfig):
    """Page in the browser that segments dropped images."""

    run: FilePath
    """Run folder, a checkpoint in one, ``hf://user/name`` on the Hugging Face hub, or a network of
    the authors such as ``deeplabv3plus_xception65_voc``."""
    strategy: Text = "single-scale"
    """Inference strategy that the page starts with."""
    host: Text = "127.0.0.1"
    """Address that the page is served at; ``0.0.0.0``: other machines can open it too."""
    port: Annotated[Int, Field(ge=1, le=65535)] | None = None
    """Port; null: the first free one from 7860 on."""
    open_browser: Bool = True
    """Open the page in the browser."""
    trust_remote_code: Bool = False
    """Import the classes that the run's config names, which may be another's."""
    trainer: TrainerSettings = TrainerSettings()


class TuneSettings(Settings):
    """Search for settings of a training; the other keys are those of ``deeplab train``."""

    find: Literal["lr", "batch_size"] = "lr"
    """``lr``: train with a rising learning rate and suggest the one at which the loss falls
    fastest; ``batch_size``: find how many images at a time fit into memory."""
    min_lr: AboveZero = 1e-5
    """First learning rate."""
    max_lr: AboveZero = 1.0
    """Last learning rate."""
    num_steps: Annotated[Positive, Field(ge=20, le=10**6)] = 100
    """Training steps of the search for a learning rate."""
    figure: FilePath = "tune.png"
    """File of the figure."""

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        if self.min_lr >= self.max_lr:
            raise ValueError(f"max_lr={self.max_lr:g}: must be above min_lr ({self.min_lr:g})")
        return self


class ConvertConfig(Settings):
    """Conversion of the authors' checkpoints."""

    input: FilePath
    """Archive of the model zoo, folder, frozen graph, prefix of a checkpoint, or .tflite file."""
    output: FilePath | None = None
    """File of the weights; null: ``runs/NAME/weights.safetensors``."""
    overrides: tuple[Text, ...] = ()
    """Overrides of ``deeplab train`` that were typed."""
    enable_progress_bar: Bool = True
    """Show progress: bars in a terminal, elsewhere lines."""


HubId = Annotated[Text, Field(pattern=r"^\w[\w.-]*/\w[\w.-]*$", max_length=96)]


GraphFormat = Literal["onnx", "torch_export"]
"""Formats of files that run the network without this project."""


class ExportConfig(Settings):
    """Export of a trained network."""

    run: FilePath
    """Run folder, a checkpoint in one, or a weights file with ``config.yaml`` beside it."""
    format: Literal[GraphFormat, "safetensors"] = "onnx"
    """Format of the file."""
    output: FilePath | None = None
    """Folder of the files; null: ``export`` in the run's folder."""
    output_stride: OutputStride | None = None
    """Output stride; null: that of training."""
    padding: Bool = True
    """Pad images smaller than ``data.eval_size``, as ``deeplab evaluate`` does; false: to 33 x 33
    pixels."""
    probabilities: Bool = False
    """Add a second output with the probabilities of all classes."""
    num_check_images: Annotated[Natural, Field(le=1000)] = 4
    """Images on which the file is compared with PyTorch; 0: none."""
    precision: Literal["float32", "float16", "int8"] = "float32"
    """Precision of an ONNX file; float16 and int8 are smaller, and are scored beside float32."""
    num_calibration_images: Annotated[Positive, Field(le=10_000)] = 32
    """Training images on which int8 measures the ranges of its feature maps."""
    num_score_images: Annotated[Positive, Field(le=100_000)] = 100
    """Validation images on which float16 and int8 are scored, at most."""
    push_to_hub: HubId | None = None
    """``USER/NAME``: upload weights, config and a model card to the Hugging Face hub."""
    private: Bool = False
    """Let ``push_to_hub`` create a private repository."""
    trust_remote_code: Bool = False
    """Import the classes that the run's config names, which may be another's."""
    license: Annotated[Text, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")] | None = None
    """License of the weights, for the model card, such as ``cc-by-4.0``."""
    data: DataRootConfig = DataRootConfig()

    @model_validator(mode="after")
    def _check_graph_keys(self) -> Self:
        if self.format == "safetensors" and (
            self.output_stride or self.probabilities or not self.padding
        ):
            raise ValueError(
                "format=safetensors: output_stride, padding and probabilities are for "
                f"{' and '.join(f'format={name}' for name in get_args(GraphFormat))}. Weights "
                "alone serve every output stride"
            )
        return self

    @model_validator(mode="after")
    def _check_precision(self) -> Self:
        if self.precision != "float32" and self.format != "onnx":
            raise ValueError(f"precision={self.precision}: only for format=onnx. Leave one out")
        return self

    @model_validator(mode="after")
    def _check_hub_keys(self) -> Self:
        if self.private and not self.push_to_hub:
            raise ValueError(
                "private=true: there is no repository to create. Set push_to_hub=USER/NAME"
            )
        if self.license and not (self.push_to_hub or self.format == "safetensors"):
            raise ValueError(
                f"license={self.license}: it goes into the model card, which only push_to_hub and "
                "format=safetensors write. Set one of them"
            )
        return self


class GalleryConfig(Settings):
    """Gallery of an evaluation."""

    run: FilePath
    """Run folder, or the folder of one of its evaluations."""
    compare_with: FilePath | None = None
    """Second run or evaluation to compare image by image."""
    strategy: Text | None = None
    """Evaluation of a run with this strategy; null: the newest."""
    output: FilePath | None = None
    """Folder of the page; null: ``gallery`` in the evaluation's folder."""
    num_images: Positive = 24
    """Images in each section of whole images."""
    num_per_class: Positive = 4
    """Images per class and per pair of classes."""
    num_confused_pairs: Positive = 10
    """Pairs of classes that are confused most."""
    thumbnail_width: Side = 240
    """Width of the small images, in pixels."""
    max_image_size: Side = 800
    """Longer side of the large images, in pixels."""
    enable_progress_bar: Bool = True
    """Show progress: bars in a terminal, elsewhere lines."""
    data: DataRootConfig = DataRootConfig()
