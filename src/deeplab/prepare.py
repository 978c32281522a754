"""Making a configured data set ready, as a list of steps."""

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlparse

from deeplab.config import PrepareConfig
from deeplab.config.data import (
    CityscapesConfig,
    COCOConfig,
    DataConfig,
    FolderConfig,
    PublishedConfig,
    ShapesConfig,
)
from deeplab.cores import cores
from deeplab.data.layout import PREPARING, split_items
from deeplab.datasets import check_data, data_layout
from deeplab.errors import UserError
from deeplab.files import exclusive, write_json
from deeplab.preparation import published
from deeplab.preparation.fetch import Archive, fetch
from deeplab.preparation.parallel import in_threads
from deeplab.preparation.source import Select, Source, adopt, find_source
from deeplab.preparation.unpack import unpack

GB = 1e9
UNLABELLED = ("test",)
"""Splits whose masks their makers keep."""


def run_preparation(config: PrepareConfig) -> None:
    """Fetch, unpack, derive and verify what is not there yet; say what there is."""
    data = config.data
    if isinstance(data, ShapesConfig | FolderConfig):
        _say_splits(check_data(data), config.choice)
        return
    if not config.again and _made_from(data, config) <= set(_manifest(data).get("made_from", [])):
        print(f"{data.root} is ready; nothing to do (again=true does it anew).")
        return
    select = _wanted(data)
    source = _obtain(data, config, select)
    with _in_preparation(Path(data.root).expanduser()) as root:
        for archive in source.archives.values():
            unpack(archive, root, select=select, progress=config.progress)
        if source.folder and source.folder.resolve() != root.resolve():
            adopt(source.folder, root, select, progress=config.progress)
        _derive(data, root, config)
        counts = published.verify(data_layout(data, whole=False), without_masks=UNLABELLED)
        _compare(counts, data, strict=config.source is None)
        made_from = sorted(_made_from(data, config) | set(_manifest(data).get("made_from", [])))
        write_json(root / "manifest.json", {"made_from": made_from, "splits": counts})
    _say_splits(data, config.choice)


def _wanted(data: PublishedConfig) -> Select:
    if isinstance(data, COCOConfig):
        return published.coco_file
    return published.cityscapes_file if isinstance(data, CityscapesConfig) else published.voc_file


def _made_from(data: PublishedConfig, config: PrepareConfig) -> set[str]:
    """What the manifest says: the parts, or the place of a person's own files."""
    if config.source is None:
        return set(data.parts)
    return {str(Path(config.source).expanduser().resolve())}


def _manifest(data: PublishedConfig) -> dict[str, Any]:
    path = Path(data.root).expanduser() / "manifest.json"
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}


def _obtain(data: PublishedConfig, config: PrepareConfig, select: Select) -> Source:
    """The archives, downloaded, or what the source has."""
    names = {part: _file_name(data, part) for part in data.archives}
    if config.source is not None:
        source = find_source(Path(config.source).expanduser(), names, select)
        absent = [names[p] for p in data.parts if p not in source.archives and not source.folder]
        if absent:
            print(f"Not in {config.source}, so left out: {', '.join(absent)}")
        return source
    without_address = [names[p] for p in data.parts if data.archives[p].url is None]
    if without_address:
        raise UserError(
            f"data={config.choice}: its makers want a login. Download "
            f"{' and '.join(without_address)} from cityscapes-dataset.com/downloads into a folder "
            "and set source=FOLDER."
        )
    folder = Path(config.downloads).expanduser()
    _say_disk(data, folder, names)
    archives = {part: _archive(data, part, names[part]) for part in data.parts}
    calls = [partial(fetch, a, folder, progress=config.progress) for a in archives.values()]
    with _alone(folder / ".lock", f"downloads={config.downloads}", "is downloading there"):
        return Source(dict(zip(archives, in_threads(calls), strict=True)), None)


def _file_name(data: PublishedConfig, part: str) -> str:
    url = data.archives[part].url
    return PurePosixPath(urlparse(url).path).name if url else f"{part}.zip"


def _archive(data: PublishedConfig, part: str, name: str) -> Archive:
    described = data.archives[part]
    if described.checksum is None:
        raise UserError(
            f"data.archives.{part}.checksum: a file of {described.url} is only taken with a "
            "checksum, md5:... or sha256:..."
        )
    assert described.url is not None
    return Archive(name, described.url, described.checksum, described.size)


def _say_disk(data: PublishedConfig, downloads: Path, names: dict[str, str]) -> None:
    """What it will take, before anything is done.

    Raises:
        UserError: there is not as much.
    """
    missing = [p for p in data.parts if not (downloads / names[p]).is_file()]
    archives = sum(data.archives[p].size or 0 for p in missing) / GB
    places = {downloads: archives, Path(data.root).expanduser(): data.unpacked}
    free = {place: shutil.disk_usage(_existing(place)).free / GB for place in places}
    unknown = [names[p] for p in missing if data.archives[p].size is None]
    print(
        f"Needs about {archives:.1f} GB for archives in {downloads} and {data.unpacked:.1f} GB in "
        f"{data.root}; {min(free.values()):.0f} GB are free."
        + (f" (The size of {', '.join(unknown)} is not known.)" if unknown else "")
    )
    one_disk = len({_existing(place).stat().st_dev for place in places}) == 1
    needed = sum(places.values()) if one_disk else max(places.values())
    if any(free[p] < (needed if one_disk else places[p]) for p in places):
        raise UserError(
            f"the disk has {min(free.values()):.1f} GB free, and this takes {needed:.1f} GB. Make "
            "room, or name other places: data.root=... downloads=..."
        )


def _existing(path: Path) -> Path:
    return next(p for p in (path.resolve(), *path.resolve().parents) if p.exists())


@contextmanager
def _in_preparation(root: Path) -> Iterator[Path]:
    """Mark a folder as not whole until the block has ended well; one process at a time."""
    with _alone(root / PREPARING, f"data.root={root}", "is preparing it"):
        yield root
        (root / PREPARING).unlink()


@contextmanager
def _alone(lock: Path, key: str, doing: str) -> Iterator[None]:
    """Keep a folder to this process."""
    with ExitStack() as held:
        try:
            held.enter_context(exclusive(lock))
        except BlockingIOError:
            raise UserError(f"{key}: another process {doing}.") from None
        except OSError as error:
            raise UserError(f"{key}: nothing can be written there ({error.strerror}).") from None
        yield


def _derive(data: PublishedConfig, root: Path, config: PrepareConfig) -> None:
    workers = cores() if config.workers == "auto" else config.workers
    if isinstance(data, COCOConfig):
        published.derive_coco(
            root,
            annotations={split: file for split, file in data.annotations.items() if file},
            category_ids=data.category_ids,
            min_pixels=data.min_pixels,
            workers=workers,
            progress=config.progress,
        )
    elif not isinstance(data, CityscapesConfig):
        published.derive_voc(root, workers=workers, progress=config.progress)


def _compare(counts: dict[str, int], data: PublishedConfig, *, strict: bool) -> None:
    """Hold the splits against the published numbers of images."""
    for split, expected in data.expected.items():
        if counts.get(split, expected) != expected:
            told = f"{split} has {counts[split]} images; {expected} were published"
            if strict:
                raise UserError(
                    f"{data.root}: {told}. data.expected.{split}={counts[split]} accepts it."
                )
            print(f"Note: {told}.")


def _say_splits(data: DataConfig, choice: str) -> None:
    layout = data_layout(data)
    print(f"\n{choice} is ready in {layout.root}")
    for split in layout.splits():
        print(f"  {split:<12} {len(split_items(layout, split)):>7} images")
    print(f"  {len(data.classes)} classes: {', '.join(data.classes)}")
    root = "" if data.root.startswith("data/") else f" data.root={data.root}"
    print(f"\n  python src/prepare.py data={choice}{root} check=true    looks at every file")
    print(f"  python src/train.py data={choice}{root}")
