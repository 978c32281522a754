"""A page in the browser that segments the images that are dropped on it."""

import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any, NamedTuple

from PIL import UnidentifiedImageError

from deeplab.checkpoints.trained_run import find_trained_run
from deeplab.config.execution import inference_execution
from deeplab.config.schema.scripts import DemoConfig
from deeplab.data.class_set import Pixels, write_mask
from deeplab.data.pixel_format import RGB_CHANNELS
from deeplab.inference.strategy import parse_strategy
from deeplab.tools.predict.contents import class_shares, describe_percent
from deeplab.tools.predict.trained_model import TrainedModel
from deeplab.utils.constants import BACKGROUND
from deeplab.utils.errors import UserError
from deeplab.utils.extras import require_extra
from deeplab.utils.program import command
from deeplab.utils.text import print_folded
from deeplab.utils.visualization import overlay_with_outlines, rgb

STRATEGIES = (
    "os16",
    "os16-flip",
    "os16-ms-flip",
    "os8",
    "os8-flip",
    "os8-ms-flip",
    "x0.5",
    "x0.25",
)
"""Inference strategies that the page offers beside the chosen one."""

FONT = ("system-ui", "sans-serif")
"""Fonts of the machine, since others would be fetched from the internet."""


class Result(NamedTuple):
    """An image with its label map, which the page draws again and again."""

    image: Pixels
    label: Pixels


class Demo:
    """What the page does: predicts an image, and draws what was predicted.

    Args:
        model: the network.
        config: which strategy and windows.
        folder: folder of the label maps that are offered for download.
    """

    def __init__(self, model: TrainedModel, config: DemoConfig, folder: Path) -> None:
        self.model, self.config, self.folder = model, config, folder

    def predict(self, path: str, strategy: str) -> tuple[Result, str, Path]:
        """Return what is found in the image of a file, a line about it, and its label map's file.

        Raises:
            UserError: the file or the strategy is wrong.
            MemoryError: the image is too large for the device.
        """
        start = time.perf_counter()
        prediction = self.model.predict(
            path,
            strategy=strategy,
            window=self.config.window_size,
            overlap=self.config.overlap,
        )
        seconds = time.perf_counter() - start
        height, width = prediction.label_map.shape
        mask = self.folder / f"{Path(path).parent.name}-{strategy}" / f"{Path(path).stem}.png"
        mask.parent.mkdir(exist_ok=True)  # the folder of an upload is named by its content
        write_mask(mask, prediction.label_map, prediction.palette, flush=False)
        line = f"{width} x {height} pixels, {strategy}: {seconds:.2f} s"
        return Result(prediction.image, prediction.label_map), line, mask

    def found(self, label: Pixels) -> list[str]:
        """Return the names of the classes in a label map but background, the largest first."""
        return [name for name in class_shares(label, self.model.classes) if name != BACKGROUND]

    def draw(self, result: Result, shown: Sequence[str], opacity: float) -> Pixels:
        """Return the image tinted with the colors of the shown classes."""
        names = [name if name in shown else BACKGROUND for name in self.model.classes]
        image, label = result
        return overlay_with_outlines(image, label, names, self.model.palette, opacity)

    def legend(self, label: Pixels) -> str:
        """Return the classes of a label map with their colors and shares, as HTML."""
        entries = []
        for name, share in class_shares(label, self.model.classes).items():
            color = "#{:02x}{:02x}{:02x}".format(
                *rgb(self.model.palette[self.model.classes.index(name)])
            )
            entries.append(
                f'<span style="display:inline-block;margin-right:1.2em">'
                f'<span style="display:inline-block;width:1em;height:1em;background:{color};'
                f'border:1px solid #888;vertical-align:-2px"></span> {escape(name)} '
                f"{escape(describe_percent(share))}</span>"
            )
        return "".join(entries)


def run_demo(config: DemoConfig) -> None:
    """Serve the page until it is interrupted.

    Raises:
        UserError: the run, the strategy or the port is wrong, or gradio is not installed.
    """
    require_extra("demo", "gradio", setting="demo")
    trained = find_trained_run(
        config.run,
        progress=config.trainer.enable_progress_bar,
        trust_remote_code=config.trust_remote_code,
    )
    if (channels := trained.config.data.pixel_format.channels) != RGB_CHANNELS:
        raise UserError(
            f"run={config.run}: it sees images of {channels} channels, and a browser sends three. "
            f"Use {command('predict')}."
        )
    trained.strategies(
        [config.strategy], window=config.fixed_window, overlap=config.overlap, key="strategy"
    )
    execution = inference_execution(config.trainer)
    model = TrainedModel(trained, execution)
    print_folded("Weights: " + "\n         ".join(trained.describe_weights()))
    print_folded(f"Machine: {execution}")
    with execution.threads(), TemporaryDirectory(prefix="deeplab-demo-") as folder:
        # before gradio is imported: it keeps uploads there, and reports nothing to its makers
        os.environ |= {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False"}
        run = trained.config
        own = f", images of {Path(run.data.root).name}" if run.data.of_ones_own else ""
        _serve(Demo(model, config, Path(folder)), config, title=f"{run.name}{own}")


def _serve(demo: Demo, config: DemoConfig, title: str) -> None:
    import gradio as gr

    logging.getLogger("httpx").setLevel(logging.WARNING)  # gradio looks whether it is reached
    page = _build_page(demo, config, title)
    try:
        _, url, _ = page.launch(
            server_name=config.host,
            server_port=config.port,
            inbrowser=config.open_browser,
            prevent_thread_lock=True,
            quiet=True,
            footer_links=[],
            theme=gr.themes.Default(font=FONT, font_mono=("monospace",)),
            share=False,
            ssr_mode=False,
        )
    except OSError as error:
        port = "7860 to 7959" if config.port is None else config.port
        raise UserError(f"port={port}: {str(error).splitlines()[0]} Set another port.") from None
    print(f"Demo:    {url} (Ctrl-C ends it)", flush=True)
    with suppress(KeyboardInterrupt):
        Event().wait()
    page.close(verbose=False)


def _build_page(demo: Demo, config: DemoConfig, title: str) -> Any:
    """Return the page, a ``gradio.Blocks``."""
    import gradio as gr

    stride = demo.model.model.output_stride
    chosen = parse_strategy(config.strategy, output_stride=stride)
    offered = [chosen, *(parse_strategy(name, output_stride=stride) for name in STRATEGIES)]
    strategies = {entry.name: entry.label for entry in offered}

    def button(mask: Path | None) -> Any:
        return gr.update(value=mask and str(mask), interactive=mask is not None)

    def boxes(classes: list[str]) -> Any:
        return gr.update(choices=classes, value=classes, visible=bool(classes))

    def predict(path: str | None, strategy: str, opacity: float) -> tuple[Any, ...]:
        if path is None:
            return None, None, boxes([]), "", "", button(None)
        try:
            result, line, mask = demo.predict(path, strategy)
        except (UserError, MemoryError) as error:
            raise gr.Error(str(error), print_exception=False) from None
        found = demo.found(result.label)
        image = demo.draw(result, found, opacity)
        return result, image, boxes(found), demo.legend(result.label), line, button(mask)

    def draw(result: Result | None, shown: list[str], opacity: float) -> Any:
        return None if result is None else demo.draw(Result(*result), shown, opacity)

    with gr.Blocks(title=f"{title} - DeepLabv3+", analytics_enabled=False) as page:
        gr.Markdown(
            f"## {title}\n\nDrop an image: the network colors each of its pixels by the class that "
            "it finds there."
        )
        result = gr.State(None, time_to_live=3600)
        with gr.Row():
            with gr.Column():
                image = gr.Image(
                    type="filepath",
                    label="Image",
                    sources=["upload", "clipboard"],
                    buttons=["fullscreen"],
                )
                image.preprocess = _refuse_other_files(image.preprocess)
                strategy = gr.Dropdown(
                    choices=[(label, name) for name, label in strategies.items()],
                    value=chosen.name,
                    label="Inference strategy",
                )
                opacity = gr.Slider(0, 1, 0.55, step=0.05, label="Opacity")
                shown = gr.CheckboxGroup([], label="Classes", visible=False)
            with gr.Column():
                overlay = gr.Image(
                    label="Segmentation",
                    interactive=False,
                    format="png",
                    buttons=["download", "fullscreen"],
                )
                legend, line = gr.HTML(), gr.Markdown()
                mask = gr.DownloadButton("Download the label map (PNG)", interactive=False)
        outputs = [result, overlay, shown, legend, line, mask]
        for changed in (image, strategy):
            changed.change(predict, [image, strategy, opacity], outputs)
        for redrawn in (shown, opacity):
            redrawn.input(draw, [result, shown, opacity], overlay, show_progress="hidden")
    return page


def _refuse_other_files(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a reader of uploads that shows a message for a file that is no image."""
    import gradio as gr

    def read_upload(upload: Any) -> Any:
        try:
            return read(upload)
        except UnidentifiedImageError:
            name = upload.orig_name or "this file"
            raise gr.Error(
                f"{name}: no image. Drop a JPEG or PNG.", print_exception=False
            ) from None

    return read_upload
