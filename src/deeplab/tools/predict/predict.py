"""A trained network applied to pictures and videos that have no masks."""

import errno
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from deeplab.checkpoints.trained_run import find_trained_run, inference_execution
from deeplab.config.build_data import class_set
from deeplab.config.build_datamodule import padded_to, padding_color
from deeplab.config.parsing import file_values
from deeplab.config.schema.scripts import PredictConfig
from deeplab.data.bad_files import BadFileError
from deeplab.data.class_set import ClassSet, write_mask
from deeplab.data.transforms import EvalTransform
from deeplab.inference.segmenter import Segmenter
from deeplab.tools.predict.files import Found, Source, find_sources
from deeplab.tools.predict.outputs import claim
from deeplab.tools.predict.photos import read_photo
from deeplab.tools.predict.video import Video, video_at
from deeplab.tracking.console import silence_library_messages
from deeplab.utils.errors import UserError, report_write_errors
from deeplab.utils.files import atomic_write
from deeplab.utils.parallel import cpu_count, prefetch
from deeplab.utils.visualization import legend, rgb, overlay_with_outlines, add_legend

Pixels = NDArray[np.uint8]

QUALITY = 92
"""Of JPEGs."""

LISTED = 20
"""Files in one message at most."""


def run_prediction(config: PredictConfig) -> int:
    """Predict all that ``input`` names, and say what went where.

    Returns:
        The number of files that could not be read to their end.
    """
    silence_library_messages()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    trained = find_trained_run(config.run, progress=config.trainer.enable_progress_bar)
    output = Path(config.output).expanduser()
    found = find_sources(config.input, output)
    sources = found.sources
    _check_settings(config, sources)
    strategies = trained.strategies(
        [config.strategy], window=config.window_size, overlap=config.overlap, key="strategy"
    )
    _check_output(output)
    execution = inference_execution(config.trainer)
    predictor = trained.predictor(strategies, execution, key="strategy")
    written = {key: getattr(config, key) for key in ("overlay", "probabilities", "frames")}
    claim(output, {path: source.path for source in sources for path in source.results(**written)})
    run = trained.config
    padding = EvalTransform(size=padded_to(run.data), fill=padding_color(run))
    segmenter = Segmenter(predictor, execution, padding, len(run.data.classes))
    print(f"Weights: {trained.weights}")
    print(f"Machine: {execution}")
    _say(found)
    prediction = Prediction(config, segmenter, class_set(run.data))
    with report_write_errors(f"output={output}"):
        prediction.run(sources)
    prediction.report(output)
    return len(prediction.problems)


def _check_settings(config: PredictConfig, sources: Sequence[Source]) -> None:
    """Refuse settings that leave nothing to do; say which ones are about nothing here."""
    videos = sum(source.is_video for source in sources)
    if videos and not (config.save_overlay or config.save_frames):
        raise UserError("overlay=false leaves nothing to write of a video; set frames=true.")
    if config.window_size is None and config.overlap != file_values("predict")["overlap"]:
        raise UserError(f"overlap={config.overlap}: windows overlap; set window=1025, say, too.")
    if config.save_frames and not videos:
        print("frames=true is about videos, and there is none among the inputs.")
    if config.save_probabilities and videos == len(sources):
        print("probabilities=true is about pictures, and there is none among the inputs.")


def _say(found: Found) -> None:
    """What was passed over, and whose results have a name that is not the file's."""
    if found.others:
        kinds = [f"{suffix or 'no suffix'} ({n})" for suffix, n in found.others.most_common()]
        files = _counted(found.others.total(), "file")
        print(f"Neither pictures nor videos, passed over: {files}: {', '.join(kinds)}")
    renamed = [source for source in found.sources if source.is_renamed]
    if renamed:
        print("Files of one name have results of names of their own:")
        for source in renamed[:LISTED]:
            print(f"  {source.path}: {source.target}.*")
        if len(renamed) > LISTED:
            print(f"  and {len(renamed) - LISTED} more")


class Prediction:
    """What is done with each input, and a count of it.

    Args:
        config: what is written.
        segmenter: the network.
        classes: their names and colors.
    """

    def __init__(self, config: PredictConfig, segmenter: Segmenter, classes: ClassSet) -> None:
        self.config, self.segmenter = config, segmenter
        self.names, self.palette = classes.names, classes.palette
        self.pictures = self.videos = self.frames = 0
        self.seconds = 0.0
        self.problems: dict[Path, str] = {}

    def run(self, sources: Sequence[Source]) -> None:
        """Pictures first, then one video after the other."""
        start = time.monotonic()
        self._run_pictures([source for source in sources if not source.is_video])
        for source in sources:
            if source.is_video:
                self._run_video(source)
        self.seconds = time.monotonic() - start

    def report(self, output: Path) -> None:
        """Say how much was done, where it is, and what could not be read."""
        parts = []
        if self.pictures or not self.videos:
            parts.append(_counted(self.pictures, "picture"))
        if self.videos:
            parts.append(f"{_counted(self.videos, 'video')} of {_counted(self.frames, 'frame')}")
        count = self.pictures + self.frames
        rate = f", {count / self.seconds:.3g} images a second" if count else ""
        print(f"{' and '.join(parts)} done{rate}: {output}")
        if self.problems:
            print(f"{_counted(len(self.problems), 'file')} could not be read, or not to the end:")
            for path, problem in self.problems.items():
                print(f"  {path}: {problem}")

    def _run_pictures(self, sources: Sequence[Source]) -> None:
        bar: tqdm[Any] = tqdm(
            total=len(sources),
            desc="Predicting",
            unit="img",
            disable=not (self.config.trainer.enable_progress_bar and sources),
        )
        with bar:
            predicted = self._predicted(sources, bar)
            written = prefetch(self._write, predicted, num_threads=min(4, cpu_count()), max_pending=4)
            for (source, *_), problem in written:
                if problem:
                    self.problems[source.path] = problem
                else:
                    self.pictures += 1

    def _predicted(
        self, sources: Iterable[Source], bar: "tqdm[Any]"
    ) -> Iterator[tuple[Source, Pixels, Pixels]]:
        """Each picture that can be read, and its label map."""
        named = ((source,) for source in sources)
        for (source,), image in prefetch(_read, named, num_threads=min(2, cpu_count()), max_pending=2):
            try:
                if isinstance(image, BadFileError):
                    self.problems[source.path] = image.problem
                else:
                    yield source, image, self._labels(source, image)
            except MemoryError as error:
                self.problems[source.path] = str(error)
            bar.update()

    def _labels(self, source: Source, image: Pixels) -> Pixels:
        if not self.config.save_probabilities:
            return self.segmenter.labels(image)
        label, found = self.segmenter.probabilities(image)
        # Here and not in a thread, so that those of one picture at most are in memory.
        with atomic_write(source.result(".npz")) as draft, draft.open("wb") as file:
            np.savez_compressed(file, probabilities=found, classes=np.array(self.names))
        return label

    def _write(self, source: Source, image: Pixels, label: Pixels) -> str | None:
        """Returns what is wrong with the file's name, if its results cannot have theirs."""
        try:
            write_mask(source.result(".png"), label, self.palette)
            if self.config.save_overlay:
                picture = overlay_with_outlines(image, label, self.names, self.palette)
                sheet = add_legend(picture, label, self.names, self.palette)
                _write_jpeg(source.result("_overlay.jpg"), Image.fromarray(sheet))
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            return "its name is too long for those of results"
        return None

    def _run_video(self, source: Source) -> None:
        try:
            video = Video(source.path)
            self._write_video(source, video)
        except BadFileError as error:
            self.problems[source.path] = error.problem
        except MemoryError as error:
            self.problems[source.path] = str(error)
        else:
            self.videos += 1
            self.frames += video.count
            if video.problem:
                self.problems[source.path] = video.problem

    def _write_video(self, source: Source, video: Video) -> None:
        target, overlay = source.result("_overlay.mp4"), self.config.save_overlay
        if overlay:
            entries = [(name, rgb(self.palette[i])) for i, name in enumerate(self.names)]
            _write_jpeg(source.result("_legend.jpg"), legend(entries, width=640, size=14))
        bar = tqdm(
            self._labeled(video),
            total=video.expected or None,
            desc=source.path.name,
            unit="frame",
            disable=not self.config.trainer.enable_progress_bar,
        )
        with video_at(target, video.rate) if overlay else nullcontext() as writer:
            painted = prefetch(self._paint, bar, num_threads=min(2, cpu_count()), max_pending=2)
            for i, ((_, label), picture) in enumerate(painted):
                if writer:
                    writer.add(picture)
                if self.config.save_frames:
                    folder = source.result("_frames")
                    write_mask(folder / f"{i:06d}.png", label, self.palette)

    def _labeled(self, video: Video) -> Iterator[tuple[Pixels, Pixels]]:
        for frame in video.frames():
            yield frame, self.segmenter.labels(frame)

    def _paint(self, frame: Pixels, label: Pixels) -> Pixels:
        return overlay_with_outlines(frame, label, self.names, self.palette)


def _read(source: Source) -> Pixels | BadFileError:
    try:
        return read_photo(source.path)
    except BadFileError as error:
        return error


def _write_jpeg(path: Path, picture: Image.Image) -> None:
    with atomic_write(path) as draft:
        picture.save(draft, format="JPEG", quality=QUALITY)


def _check_output(output: Path) -> None:
    with report_write_errors(f"output={output}"):
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
