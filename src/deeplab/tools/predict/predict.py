"""Prediction of images and videos that have no masks, with a trained network."""

import errno
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from deeplab.checkpoints.trained_run import TrainedRun, find_trained_run
from deeplab.config.execution import inference_execution
from deeplab.config.schema.scripts import PredictConfig
from deeplab.data.bad_files import BadFileError
from deeplab.data.class_set import ClassSet, class_set, write_mask
from deeplab.data.image_header import KINDS, QUIET_KINDS, ROTATED
from deeplab.data.image_io import RGB
from deeplab.data.pixel_format import RGB_CHANNELS, PixelFormat
from deeplab.inference.segmenter import Segmenter
from deeplab.inference.strategy import MIN_SCALE
from deeplab.tools.predict.contents import ContentCounter, describe_shares
from deeplab.tools.predict.files import InputFile, Inputs, find_inputs
from deeplab.tools.predict.outputs import reserve_outputs
from deeplab.tools.predict.photos import read_photo
from deeplab.tools.predict.video import (
    Frame,
    Video,
    atomic_video_writer,
)
from deeplab.tracking.console import silence_library_messages
from deeplab.tracking.run_record import read_record
from deeplab.training.automatic import usual_side
from deeplab.utils.cores import cpu_count
from deeplab.utils.errors import UserError
from deeplab.utils.extras import require_extra
from deeplab.utils.files import atomic_write, check_writable
from deeplab.utils.parallel import prefetch
from deeplab.utils.progress import ProgressBar, show_progress
from deeplab.utils.text import pluralize, print_folded
from deeplab.utils.visualization import legend, legend_overlay, overlay_with_outlines, rgb
from deeplab.utils.write_errors import report_write_errors

Pixels = NDArray[np.uint8]

JPEG_QUALITY = 92

MAX_JPEG_SIDE = 65_500
"""Longest side of a JPEG that libjpeg writes, in pixels."""

MAX_TIMES_SEEN = 2
"""Size of objects, as a multiple of the largest in training, from which a line says so."""

MAX_LISTED_FILES = 20
"""Maximum number of files listed in one message."""


def run_prediction(config: PredictConfig) -> int:
    """Predict all files that ``input`` lists, and print where the results are.

    Returns:
        The number of files that could not be read completely.
    """
    silence_library_messages()
    trained = find_trained_run(
        config.run,
        progress=config.trainer.enable_progress_bar,
        trust_remote_code=config.trust_remote_code,
    )
    output = Path(config.output).expanduser()
    run = trained.config
    pixel_format = run.data.pixel_format
    # Arrays lie beside photos for other purposes; those of such runs are images.
    arrays = pixel_format.channels != RGB_CHANNELS or pixel_format.value_range is not None
    inputs = find_inputs(config.input, output, arrays=arrays)
    files = inputs.files
    _check_settings(config, files, pixel_format)
    strategies = trained.strategies(
        [config.strategy], window=config.fixed_window, overlap=config.overlap, key="strategy"
    )
    check_writable(output, f"output={config.output}")
    execution = inference_execution(config.trainer)
    predictor = trained.predictor(strategies, execution, key="strategy")
    predictor.show_windows = config.trainer.enable_progress_bar
    saved = {
        key: getattr(config, key) for key in ("save_overlay", "save_probabilities", "save_frames")
    }
    with report_write_errors(f"output={output}"):
        reserve_outputs(
            output, {path: file.path for file in files for path in file.output_paths(**saved)}
        )
    segmenter = trained.segmenter(predictor, execution, auto_overlap=config.auto_overlap)
    print_folded("Weights: " + "\n         ".join(trained.describe_weights()))
    print_folded(f"Machine: {execution}")
    if pixel_format != RGB:
        print(f"Images:  {pixel_format}, as in training")
    _print_skipped_and_renamed(inputs)
    job = PredictionJob(config, segmenter, class_set(run.data), pixel_format)
    job.set_training_size(trained)
    with report_write_errors(f"output={output}"), execution.threads():
        job.run(files)
    job.report(output)
    return len(job.problems)


def _check_settings(
    config: PredictConfig, files: Sequence[InputFile], pixel_format: PixelFormat
) -> None:
    """Reject settings that leave nothing to do, and print which ones have no effect here."""
    videos = [file for file in files if file.is_video]
    if videos and pixel_format.channels != RGB_CHANNELS:
        raise UserError(
            f"input={videos[0].path}: the network sees images of {pixel_format.channels} channels, "
            "and a video has three. Leave it out."
        )
    if videos:
        require_extra("video", "av", setting=f"input={videos[0].path}")
    if videos and not (config.save_overlay or config.save_frames):
        raise UserError(
            "save_overlay=false: nothing to write for videos. Set save_frames=true as well."
        )
    if config.save_frames and not videos:
        print("save_frames=true has no effect: it applies to videos, and the inputs have none.")
    if config.save_probabilities and len(videos) == len(files):
        print(
            "save_probabilities=true has no effect: it applies to images, and the inputs have none."
        )


def _print_skipped_and_renamed(inputs: Inputs) -> None:
    """Print which files are skipped, and which have results that are named differently."""
    if inputs.skipped:
        suffixes = [f"{suffix or 'no suffix'} ({n})" for suffix, n in inputs.skipped.most_common()]
        count = pluralize(inputs.skipped.total(), "file")
        print(f"Skipped {count} (neither image nor video): {', '.join(suffixes)}")
    renamed = [file for file in inputs.files if file.is_renamed]
    if renamed:
        print("Files that share a name have results with longer names:")
        for file in renamed[:MAX_LISTED_FILES]:
            print(f"  {file.path}: {file.output_stem}.*")
        if len(renamed) > MAX_LISTED_FILES:
            print(f"  and {len(renamed) - MAX_LISTED_FILES} more")


class PredictionJob:
    """Prediction of all inputs, with counts for the final report.

    Args:
        config: which outputs to write.
        segmenter: the network.
        classes: names and colors.
        pixel_format: see ``deeplab.data.image_io.read_image``.
    """

    def __init__(
        self,
        config: PredictConfig,
        segmenter: Segmenter,
        classes: ClassSet,
        pixel_format: PixelFormat,
    ) -> None:
        self.config, self.segmenter, self.pixel_format = config, segmenter, pixel_format
        self.names, self.palette = classes.names, classes.palette
        self.num_images = self.num_videos = self.num_frames = 0
        self.list_contents = True
        """Whether a line says what is in each image."""
        self.seconds = 0.0
        self.problems: dict[Path, str] = {}
        self.usual_side: float | None = None
        """Longer side of a usual training image; None: unknown."""
        self.largest_seen = 1.0
        """Largest scale of training images."""
        self.larger: dict[Path, float] = {}
        """Size of much larger images, as a multiple of the training images'."""
        self.contents = ContentCounter(classes.names)
        self.kinds: list[str] = []
        """What images have that is not read as it is, by the keys of ``KINDS``."""

    def set_training_size(self, trained: TrainedRun) -> None:
        """Let the report name images that are much larger than those that the run was trained on.

        Only where the run records the size, and its smallest scale does not make up for it.
        """
        run = trained.config
        if side := read_record(trained.folder).image_side or usual_side(run):
            scales = self.segmenter.predictor.strategies[0].scales
            self.usual_side, self.largest_seen = side, run.data.scales.max / min(scales)

    def run(self, files: Sequence[InputFile]) -> None:
        """Predict all images, then one video after the other."""
        start = time.monotonic()
        self.list_contents = len(files) <= MAX_LISTED_FILES
        self._predict_images([file for file in files if not file.is_video])
        for file in files:
            if file.is_video:
                self._predict_video(file)
        self.seconds = time.monotonic() - start

    def report(self, output: Path) -> None:
        """Print the number of predicted files, the output folder and unreadable files."""
        parts = []
        if self.num_images or not self.num_videos:
            parts.append(pluralize(self.num_images, "image"))
        if self.num_videos:
            frames = pluralize(self.num_frames, "frame")
            parts.append(f"{pluralize(self.num_videos, 'video')} ({frames})")
        count = self.num_images + self.num_frames
        speed = f", {count / self.seconds:.3g} images per second" if count else ""
        if self.num_images and not self.list_contents:
            print(self.contents.describe())
        print(f"Predicted {' and '.join(parts)}{speed}. Results: {output}")
        for kind, number in Counter(self.kinds).items():
            if kind not in QUIET_KINDS:
                print(f"{pluralize(number, 'image')}: {KINDS[kind][0]}")
        if self.larger:
            print(self._describe_larger())
        if self.problems:
            print(f"{pluralize(len(self.problems), 'file')} could not be read completely:")
            for path, problem in self.problems.items():
                print(f"  {path}: {problem}")

    def _note_size(self, path: Path, label: Pixels) -> None:
        """Note an image that is much larger than those of training."""
        times = max(label.shape) / self.usual_side if self.usual_side else 0
        if times >= MAX_TIMES_SEEN * self.largest_seen:
            self.larger[path] = times

    def _describe_larger(self) -> str:
        """Return a line about the images that are much larger than those of training."""
        path, times = max(self.larger.items(), key=lambda item: item[1])
        more = len(self.larger) - 1
        names = f"{path.name} and {more} more: up to" if more else f"{path.name}:"
        scale = max(MIN_SCALE, float(f"{1 / times:.2g}"))
        fitting = replace(self.segmenter.predictor.strategies[0], scales=(scale,), window=None)
        return (
            f"{names} {times:.1f} times the size of the training images, at which objects look "
            f"unlike those seen in training; strategy={fitting.name} fits"
        )

    def _predict_images(self, files: Sequence[InputFile]) -> None:
        show = self.config.trainer.enable_progress_bar and bool(files)
        bar = ProgressBar("Predicting", len(files), "img", show=show)
        with bar:
            # With windows images may be huge, and are written and read faster than predicted.
            pending = 1 if self.config.fixed_window else 4
            predictions = self._label_maps(files, bar, min(2, pending))
            written = prefetch(
                self._write, predictions, num_threads=min(pending, cpu_count()), max_pending=pending
            )
            for (file, _, label), problem in written:
                if problem:
                    self.problems[file.path] = problem
                else:
                    self.num_images += 1
                    self._note_size(file.path, label)
                    shares = self.contents.add(label)
                    if self.list_contents:
                        tqdm.write(f"{file.path}: {describe_shares(shares)}")

    def _label_maps(
        self, files: Iterable[InputFile], bar: ProgressBar, pending: int
    ) -> Iterator[tuple[InputFile, Pixels, Pixels]]:
        """Yield each readable image with its label map."""
        arguments = ((file,) for file in files)
        images = prefetch(
            self._read, arguments, num_threads=min(pending, cpu_count()), max_pending=pending
        )
        for (file,), image in images:
            try:
                if isinstance(image, BadFileError):
                    self.problems[file.path] = image.problem
                else:
                    yield file, image, self._predict(file, image)
            except BadFileError as error:
                self.problems[file.path] = error.problem
            except MemoryError as error:
                self.problems[file.path] = str(error)
            bar.update()

    def _read(self, file: InputFile) -> Pixels | BadFileError:
        try:
            image, header = read_photo(file.path, self.pixel_format)
            kinds = header.changes(self.pixel_format.channels)
            self.kinds += (kind for kind in kinds if kind != ROTATED)
            return image
        except BadFileError as error:
            return error

    def _predict(self, file: InputFile, image: Pixels) -> Pixels:
        self.segmenter.report = lambda text: tqdm.write(f"{file.path}: {text}")
        if not self.config.save_probabilities:
            return self.segmenter.labels(image)
        label, probabilities = self.segmenter.probabilities(image)
        # Written here and not in a thread, so that memory holds those of one image at most.
        with (
            _report_long_name(file),
            atomic_write(file.output_path(".npz")) as draft,
            draft.open("wb") as stream,
        ):
            np.savez_compressed(stream, probabilities=probabilities, classes=np.array(self.names))
        return label

    def _write(self, file: InputFile, image: Pixels, label: Pixels) -> str | None:
        """Write the outputs of an image; return the problem if there is one."""
        try:
            with _report_long_name(file):
                write_mask(file.output_path(".png"), label, self.palette)
                if self.config.save_overlay:
                    figure = legend_overlay(image, label, self.names, self.palette)
                    _write_jpeg(file.output_path("_overlay.jpg"), Image.fromarray(figure))
        except BadFileError as error:
            return error.problem
        except MemoryError:
            return "no memory is left to write its overlay. Set save_overlay=false"
        return None

    def _predict_video(self, file: InputFile) -> None:
        try:
            video = Video(file.path)
            with _report_long_name(file):
                self._write_video(file, video)
        except BadFileError as error:
            self.problems[file.path] = error.problem
        except MemoryError as error:
            self.problems[file.path] = str(error)
        else:
            self.num_videos += 1
            self.num_frames += video.num_frames
            if video.problem:
                self.problems[file.path] = video.problem

    def _write_video(self, file: InputFile, video: Video) -> None:
        target, save_overlay = file.output_path("_overlay.mp4"), self.config.save_overlay
        folder = file.output_path("_frames")
        if self.config.save_frames:  # those of a longer video of this name would stay
            shutil.rmtree(folder, ignore_errors=True)
        if save_overlay:
            entries = [(name, rgb(self.palette[i])) for i, name in enumerate(self.names)]
            _write_jpeg(file.output_path("_legend.jpg"), legend(entries, width=640, size=14))
        bar = show_progress(
            self._predict_frames(video),
            file.path.name,
            video.expected_frames or None,
            "frame",
            show=self.config.trainer.enable_progress_bar,
        )
        with (
            atomic_video_writer(target, video.frame_rate, video.time_base, file.path)
            if save_overlay
            else nullcontext()
        ) as writer:
            overlays = prefetch(self._overlay, bar, num_threads=min(2, cpu_count()), max_pending=2)
            contents = ContentCounter(self.names)
            for i, ((frame, label), overlay) in enumerate(overlays):
                contents.add(label)
                if writer:
                    writer.add(Frame(overlay, frame.time))
                if self.config.save_frames:
                    write_mask(folder / f"{i:06d}.png", label, self.palette, flush=False)
        tqdm.write(f"{file.path}: {contents.describe('frame')}")
        if writer and writer.problem:
            tqdm.write(f"{file.path}: {writer.problem}")

    def _predict_frames(self, video: Video) -> Iterator[tuple[Frame, Pixels]]:
        for frame in video.frames():
            yield frame, self.segmenter.labels(frame.pixels)

    def _overlay(self, frame: Frame, label: Pixels) -> Pixels:
        return overlay_with_outlines(frame.pixels, label, self.names, self.palette)


@contextmanager
def _report_long_name(file: InputFile) -> Iterator[None]:
    """Raise BadFileError if the results of a file cannot be written because of its name."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        problem = "the name is too long to add the endings of the results"
        raise BadFileError("long name", file.path, problem, "Shorten it.") from None


def _write_jpeg(path: Path, image: Image.Image) -> None:
    """Write a JPEG, shrunk if a side is longer than the format admits."""
    image.thumbnail((MAX_JPEG_SIDE, MAX_JPEG_SIDE))
    with atomic_write(path) as draft:
        image.save(draft, format="JPEG", quality=JPEG_QUALITY)
