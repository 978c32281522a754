"""Benchmark of learning: mIoU and time of this project and of another library, at equal steps.

Both networks are trained in one run: from the same ImageNet weights, on the same batches, with the
same loss, recipe, precision and memory format. They take their steps in turn, so that both meet
every change of the machine's speed. The other one is DeepLabV3Plus of segmentation_models.pytorch
(smp) as it comes: after MobileNetV2's last convolution (1,280 channels), with larger atrous rates
and more dropout. It takes images whose sides are multiples of 16: its crops are a pixel smaller.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import mean, stdev

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn
from tqdm import tqdm

from deeplab.checkpoints.initialization import find_init_source
from deeplab.checkpoints.loading import read_tensors
from deeplab.checkpoints.matching import load_backbone
from deeplab.config.build_data import build_segmentation_data, padding_color
from deeplab.config.build_model import build_model
from deeplab.config.execution import choose_execution
from deeplab.config.schema.run import TrainConfig
from deeplab.data.datamodules import SegmentationData
from deeplab.data.dataset import SegmentationBatch
from deeplab.data.samplers import TrainSampler
from deeplab.data.transforms import EvalTransform
from deeplab.inference.predictor import predict_labels
from deeplab.metrics.confusion_matrix import ConfusionMatrix, scores
from deeplab.metrics.definitions import to_percent
from deeplab.models.layers import Normalize, set_batch_norm
from deeplab.tools.benchmarks.timing import Comparison
from deeplab.training.compose_config import compose_segmentation
from deeplab.training.ema import decay_at, ema_copy, update_ema
from deeplab.training.losses import SegmentationLoss
from deeplab.training.lr_schedules import build_lr_scheduler
from deeplab.training.optimizers import build_optimizer, parameter_groups
from deeplab.utils.errors import UserError
from deeplab.utils.extras import require_extra
from deeplab.utils.hardware import Execution
from deeplab.utils.program import CONF
from deeplab.utils.progress import show_progress
from deeplab.utils.text_table import Column, TextTable, number_column

PRESET = "voc_small"
"""Preset with the recipe of the comparison."""

NETWORK = ("data=voc", "backbone=mobilenetv2", "backbone.pretrained=imagenet")
"""Settings of the comparison before those of the preset and of the command line."""

NUM_SCORES = 3
"""Number of times that the networks are scored, evenly spaced over the steps."""

SMP_MULTIPLE = 16
"""Number that the sides of smp's images must be multiples of."""


class SmpNetwork(nn.Module):
    """DeepLabV3Plus of segmentation_models.pytorch; its logits have a quarter of the image's sides.

    Args:
        config: settings of this project's network, which has the same input normalization.
        num_classes: number of classes.
    """

    def __init__(self, config: TrainConfig, *, num_classes: int) -> None:
        super().__init__()
        import segmentation_models_pytorch as smp

        network = smp.DeepLabV3Plus("mobilenet_v2", encoder_weights=None, classes=num_classes)
        assert config.backbone.mean is not None
        assert config.backbone.std is not None
        self.normalize = Normalize(config.backbone.mean, config.backbone.std)
        self.backbone, self.decoder = network.encoder, network.decoder
        self.logits = network.segmentation_head[0]  # its next layer resizes, as the loss does here

    def load_backbone(self, state: Mapping[str, Tensor]) -> None:
        """Load ImageNet weights with torchvision's names.

        Raises:
            UserError: there are no such weights.
        """
        own = self.backbone.state_dict()
        missing = [name for name in own if name not in state and "num_batches" not in name]
        if missing:
            raise UserError(
                f"backbone.pretrained: no {missing[0]} in the file. For this comparison set it to "
                "torchvision's weights of MobileNetV2, or to imagenet."
            )
        nn.Module.load_state_dict(self.backbone, {name: state.get(name, own[name]) for name in own})

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits ``(N, K, H / 4, W / 4)``; the sides must be multiples of 16."""
        logits: Tensor = self.logits(self.decoder(self.backbone(self.normalize(images))))
        return logits


class Learner:
    """A network in training: its optimizer, its moving average, its scores and its time.

    Args:
        name: name for the table.
        network: the network; the names of its backbone's parameters begin with ``backbone``.
        config: settings of the training.
        execution: device, precision and memory format.
        multiple: number that the sides of images must be multiples of; crops are cut for it, and
            whole images padded with the mean color.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        config: TrainConfig,
        execution: Execution,
        *,
        multiple: int = 1,
    ) -> None:
        self.name, self.config, self.recipe, self.multiple = name, config, config.stage, multiple
        self.execution, self.device = execution, torch.device(execution.accelerator)
        self.format = torch.channels_last if execution.channels_last else torch.contiguous_format
        self.network = network.to(self.device).to(memory_format=self.format)  # type: ignore[call-overload]
        set_batch_norm(self.network, momentum=self.recipe.bn_momentum)
        self.average = ema_copy(self.network) if self.recipe.ema_decay else None
        groups = parameter_groups(self.network, self.recipe)
        self.optimizer = build_optimizer(groups, config.optimizer)
        self.scheduler = build_lr_scheduler(
            self.optimizer, config.lr_scheduler, self.recipe, epoch_steps=1
        )
        self.loss = SegmentationLoss()
        self.step, self.seconds = 0, 0.0
        self.miou: list[float] = []
        """mIoU from 0 to 1 at each scoring."""

    @property
    def num_parameters(self) -> int:
        """Number of trained parameters."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def train(self, batch: SegmentationBatch) -> None:
        """Take a training step on crops."""
        images, labels = batch["image"].to(self.device), batch["label"].to(self.device)
        side = images.shape[-1] // self.multiple * self.multiple
        images, labels = images[..., :side, :side], labels[..., :side, :side]
        torch.manual_seed(hash((self.config.seed, self.step)))  # dropout, as in a training
        self.network.train()
        start = self._time()
        with self._autocast():
            logits = self.network(images.contiguous(memory_format=self.format))
        loss = self.loss(logits, labels)
        self.optimizer.zero_grad()
        loss.backward()
        if limit := self.recipe.gradient_clip_val:
            nn.utils.clip_grad_norm_(self.network.parameters(), limit)
        self.optimizer.step()
        self.scheduler.step()
        if self.average:
            assert self.recipe.ema_decay is not None
            update_ema(self.average, self.network, decay_at(self.step, self.recipe.ema_decay))
        self.step += 1
        self.seconds += self._time() - start

    def score(self, data: SegmentationData) -> None:
        """Score the network, or its average if there is one, on whole images."""
        network = (self.average or self.network).eval()
        confusion = ConfusionMatrix(len(self.config.data.classes)).to(self.device)
        for item in data.val_set.items:
            image, label = data.val_set.read(item)
            height, width = label.shape
            size = (height + -height % self.multiple, width + -width % self.multiple)
            padded = EvalTransform(size=size, fill=padding_color(self.config)).pad(image)
            x = torch.from_numpy(padded).permute(2, 0, 1)[None].to(self.device)
            with self._autocast():
                prediction = predict_labels(network, x.contiguous(memory_format=self.format))
            truth = torch.from_numpy(label)[None].to(self.device)
            confusion.update(prediction[:, :height, :width], truth)
        self.miou.append(scores(confusion.matrix).miou)

    def _autocast(self) -> torch.autocast:
        dtype = self.execution.autocast_dtype
        return torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None)

    def _time(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


def compare_learning(overrides: Sequence[str], *, repeats: int) -> list[Comparison]:
    """Train both networks with several seeds; print mIoU over the steps, and times.

    Args:
        overrides: settings as on the command line of ``deeplab train``, such as ``data.root``,
            ``decoder`` and ``stage.max_steps``; ``seed`` is the first seed.
        repeats: number of seeds.
    """
    require_extra("peers", "segmentation_models_pytorch", setting="benchmark learning")
    typed = {override.partition("=")[0] for override in overrides}
    recipe = OmegaConf.load(CONF / "preset" / f"{PRESET}.yaml").train
    base = [item for item in (*NETWORK, *recipe) if item.partition("=")[0] not in typed]
    config = compose_segmentation([*base, *overrides])
    if config.backbone.family != "mobilenetv2":
        raise UserError(
            f"backbone={config.backbone.family}: the other network has MobileNetV2. Leave it out."
        )
    if config.trainer.precision == "16-mixed":
        raise UserError(
            "trainer.precision=16-mixed: the losses of this comparison are not scaled, as float16 "
            "needs it. Set bf16-mixed or 32-true."
        )
    seeds = range(config.seed, config.seed + repeats)
    execution = replace(choose_execution(config.trainer), compiled=False)
    with execution.threads():
        runs = [
            _train_in_turn(config.model_copy(update={"seed": seed}), execution) for seed in seeds
        ]
    return _print_comparison(list(zip(*runs, strict=True)), _score_steps(config.stage.max_steps))


def _score_steps(max_steps: int) -> list[int]:
    """Return the numbers of steps after which the networks are scored."""
    return [max(1, max_steps * (i + 1) // NUM_SCORES) for i in range(NUM_SCORES)]


def _train_in_turn(config: TrainConfig, execution: Execution) -> list[Learner]:
    """Train this project's network and the other one on the same batches, with one seed."""
    data = build_segmentation_data(config, num_workers=0)
    learners = _learners(config, execution)
    steps, train_set = config.stage.max_steps, data.train_set
    print(
        f"Seed {config.seed}: {len(train_set)} training and {len(data.val_set)} validation images; "
        f"{steps} steps of {config.stage.batch_size} crops of {config.data.crop_size} pixels; "
        f"{execution}",
        flush=True,
    )
    batches = TrainSampler(
        len(train_set), steps=steps, batch_size=config.stage.batch_size, seed=config.seed
    )
    score_steps = set(_score_steps(steps))
    for step, indices in enumerate(
        show_progress(batches, f"seed {config.seed}", len(batches), "step"), 1
    ):
        batch = train_set.__getitems__(indices)
        for learner in learners:
            learner.train(batch)
            if step in score_steps:
                learner.score(data)
                score = f"{to_percent(learner.miou[-1]):.2f} mIoU after {step:,} steps"
                with tqdm.external_write_mode():
                    print(f"{learner.name}: {score}", flush=True)
    return learners


def _learners(config: TrainConfig, execution: Execution) -> list[Learner]:
    init, num_classes = find_init_source(config), len(config.data.classes)
    if init is None:
        raise UserError(
            "backbone.pretrained=null: the networks are compared from the same ImageNet weights. "
            "Set backbone.pretrained to imagenet or to a file."
        )
    torch.manual_seed(config.seed)
    logits_init = config.stage.logits_init
    network = build_model(config, num_classes=num_classes, logits_init=logits_init)
    load_backbone(network.backbone, init.path)
    torch.manual_seed(config.seed)
    other = SmpNetwork(config, num_classes=num_classes)
    other.load_backbone(read_tensors(init.path))
    return [
        Learner("this project", network, config, execution),
        Learner("smp", other, config, execution, multiple=SMP_MULTIPLE),
    ]


def _print_comparison(
    contenders: Sequence[Sequence[Learner]], steps: Sequence[int]
) -> list[Comparison]:
    """Print a row for each network, whose runs differ in the seed, and the ratio of the times."""
    columns = [
        Column("network"),
        number_column("parameters, 10⁶", ".2f", unit=1e6),
        number_column("seconds a step", ".3f"),
        *(Column(f"mIoU after {number:,}", number=True) for number in steps),
    ]
    seconds = [mean(run.seconds / run.step for run in runs) for runs in contenders]
    rows = [
        (runs[0].name, runs[0].num_parameters, step_seconds, *_mean_and_deviation(runs))
        for runs, step_seconds in zip(contenders, seconds, strict=True)
    ]
    print(f"\n{TextTable.from_values(columns, rows).as_text()}")
    ours, other = (runs[0].name for runs in contenders)
    comparison = Comparison("training step in learning", ours, other, seconds[0], seconds[1])
    print(f"{ours}: {comparison.speedup:.2f} times as fast as {other}")
    return [comparison]


def _mean_and_deviation(runs: Sequence[Learner]) -> list[str]:
    """Return the mIoU over the seeds at each scoring, in percent."""
    texts = []
    for values in zip(*(run.miou for run in runs), strict=True):
        text = f"{to_percent(mean(values)):.2f}"
        several = len(values) > 1
        texts.append(f"{text} ± {to_percent(stdev(values)):.2f}" if several else text)
    return texts
