"""Making a configured data set ready, as a list of steps."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlparse

from hydra.core.hydra_config import HydraConfig

from deeplab.config.build_data import check_data, data_layout
from deeplab.config.schema.data import CityscapesConfig, COCOConfig, DataConfig, VOCConfig
from deeplab.config.schema.scripts import PrepareConfig
from deeplab.data.layouts.base import split_items
from deeplab.preparation import file_selection, manifest
from deeplab.preparation.derive import derive_coco, derive_voc, is_drawn_by
from deeplab.preparation.local_source import NOTHING, Source, find_archive, find_source, place
from deeplab.preparation.manifest import Manifest
from deeplab.preparation.summary import say_ready
from deeplab.utils import disk_space
from deeplab.utils.disk_space import Need
from deeplab.utils.download import Archive, fetch_all
from deeplab.utils.errors import UserError
from deeplab.utils.parallel import cpu_count

Published = VOCConfig | COCOConfig | CityscapesConfig


@dataclass(frozen=True)
class _Job:
    """What is to be done."""

    config: PrepareConfig
    data: Published
    known: Manifest  # what was done before
    redo: bool  # whether this is not relied upon

    @property
    def root(self) -> Path:
        return Path(self.data.root).expanduser()

    @property
    def source(self) -> Path | None:
        return Path(self.config.source).expanduser() if self.config.source else None

    @property
    def downloads(self) -> Path:
        return Path(self.config.download_dir).expanduser()

    @property
    def todo(self) -> tuple[str, ...]:
        """The parts to get."""
        return tuple(p for p in self.data.parts if self.redo or p not in self.known.parts)

    @property
    def names(self) -> dict[str, str]:
        """The file name of each part's archive."""
        names: dict[str, str] = {}
        for part, archive in self.data.archives.items():
            name = PurePosixPath(urlparse(archive.url).path).name if archive.url else f"{part}.zip"
            names[part] = name if name and name not in names.values() else f"{part}-{name}"
        return names


def run_preparation(config: PrepareConfig) -> None:
    """Fetch, unpack, derive and verify what is not there yet; say what there is."""
    if isinstance(config.data, Published):
        known = manifest.read_manifest(Path(config.data.root).expanduser())
        redo = config.overwrite or not _is_as_made(config, config.data, known)
        _prepare(_Job(config, config.data, known, redo))
    else:
        data = check_data(config.data)
        layout = data_layout(data)
        _say_ready(config, data, {s: len(split_items(layout, s)) for s in layout.splits()})


def _is_as_made(config: PrepareConfig, data: Published, known: Manifest) -> bool:
    """Whether the files of the manifest are there and, if one's own source may have been completed
    since, as many as were published."""
    numbers = {
        split: data.expected_images.get(split, number) for split, number in known.splits.items()
    }
    if config.source and numbers != known.splits:
        return False
    try:
        return not numbers or bool(file_selection.verify(data_layout(data, whole=False), numbers))
    except UserError as error:
        print(f"Since {data.root} was prepared, files have gone: {error}")
        return False


def _prepare(job: _Job) -> None:
    config, data, root = job.config, job.data, job.root
    if _is_done(job):
        print(f"{data.root} is ready; nothing to do (overwrite=true does it anew).")
        return
    archives = [] if job.source else _archives(job)
    source = _find(job, job.source) if job.source else NOTHING
    gets = [*source.archives, *source.parts] if job.source else job.todo
    print(f"Preparing {config.data_choice} ({', '.join(gets) or 'masks and lists'})")
    disk_space.announce(_needs(job, source))
    with manifest.preparing(root):
        if archives:
            paths = fetch_all(archives, job.downloads, progress=config.enable_progress_bar)
            source = NOTHING._replace(archives=dict(zip(job.todo, paths, strict=True)))
        manifest.mark(root)
        made = place(
            source, root, data.name, overwrite=config.overwrite, progress=config.enable_progress_bar
        )
        parts = job.known.parts | made
        _derive(job, parts)
        counts = _count(job)
        manifest.write_manifest(root, Manifest(parts, counts))
        absent = _absent(job, parts)
        if not counts:
            raise UserError(
                f"{root}: no split can be made of {', '.join(sorted(parts))} alone. Run this again "
                f"with a source that has {' and '.join(absent)}; what is there is kept."
            )
        manifest.unmark(root)
    notes = [f"Not in it: {', '.join(absent)}"] * bool(absent)
    if archives:
        notes.append(f"No longer needed: {', '.join(map(str, paths))}")
    _say_ready(config, data, counts, notes)


def _is_done(job: _Job) -> bool:
    parts = set(job.data.parts)
    if job.source and job.source.is_file():
        name = job.source.name
        parts = {part for part in job.names if job.names[part] == name} or {name}
    if job.redo or not manifest.is_whole(job.root) or not parts <= job.known.parts:
        return False
    if not isinstance(job.data, COCOConfig):
        return True
    here = job.known.splits
    drawn = [split for split, file in job.data.annotations.items() if file and split in here]
    return is_drawn_by(job.root, drawn, job.data.category_ids, job.data.min_pixels)


def _archives(job: _Job) -> list[Archive]:
    """What is to be downloaded.

    Raises:
        UserError: there is no address, or no checksum.
    """
    described = {part: job.data.archives[part] for part in job.todo}
    if without := [job.names[part] for part, archive in described.items() if archive.url is None]:
        raise UserError(
            f"data={job.config.data_choice}: its makers want a login. Download {' and '.join(without)} "
            "from cityscapes-dataset.com/downloads into a folder and set source=FOLDER."
        )
    archives = []
    for part, archive in described.items():
        if archive.checksum is None:
            raise UserError(
                f"data.archives.{part}.checksum: a file of {archive.url} is only taken with a "
                "checksum, md5:... or sha256:..."
            )
        assert archive.url is not None
        archives.append(Archive(job.names[part], archive.url, archive.checksum, archive.size))
    return archives


def _find(job: _Job, path: Path) -> Source:
    """What the source has; says what it has not."""
    source = find_source(path, job.root, job.data.name, job.names, job.todo)
    absent = _absent(job, job.known.parts | {*source.archives, *source.parts})
    if absent and path.is_dir():
        print(f"Not in {path}, so left out: {', '.join(absent)}")
    others = [name for part, name in job.names.items() if part not in job.data.parts]
    if more := [name for name in others if path.is_dir() and find_archive(path, name)]:
        print(f"Also in {path}, but not among data.parts: {', '.join(more)}")
    return source


def _absent(job: _Job, parts: Collection[str]) -> list[str]:
    return [job.names[part] for part in job.data.parts if part not in parts]


def _needs(job: _Job, source: Source) -> list[Need]:
    """What will be written where."""
    needs = []
    if job.source:
        unpacked = sum(path.stat().st_size for path in source.archives.values())
    else:
        sizes = {job.names[part]: job.data.archives[part].size for part in job.todo}
        needs += [disk_space.to_download(job.downloads, sizes)] if sizes else []
        unpacked = sum(size or 0 for size in sizes.values())
        if not job.known.parts:
            unpacked = int(job.data.unpacked_gb * 1e9)
    if unpacked:
        adds = job.known.parts and not job.known.parts >= {*source.archives, *job.todo}
        there = 0 if adds else disk_space.size_below(job.root)
        needs.append(Need("unpack", job.root, max(0, unpacked - there)))
    if source.files and not disk_space.is_same_disk(next(iter(source.files)), job.root):
        needs.append(Need("copy", job.root, sum(file.stat().st_size for file in source.files)))
    return needs


def _derive(job: _Job, parts: frozenset[str]) -> None:
    data, config = job.data, job.config
    num_workers = cpu_count() if config.num_workers == "auto" else config.num_workers
    if isinstance(data, COCOConfig):
        derive_coco(
            job.root,
            annotations={split: file for split, file in data.annotations.items() if file},
            category_ids=data.category_ids,
            min_pixels=data.min_pixels,
            overwrite=config.overwrite,
            num_workers=num_workers,
            progress=config.enable_progress_bar,
        )
    elif "sbd" in parts:
        derive_voc(
            job.root,
            overwrite=config.overwrite,
            num_workers=num_workers,
            progress=config.enable_progress_bar,
        )


def _count(job: _Job) -> dict[str, int]:
    """The images of each split, as many as were published."""
    data = job.data
    try:
        layout = data_layout(data, whole=False)
    except UserError:  # what makes a split is not there yet
        return {}
    configured = f"{data.train_split}+{data.val_split}".split("+")
    ours = {
        *file_selection.VOC_SPLITS,
        *data.expected_images,
        *configured,
    }  # VOC's folder may have more lists
    splits = [split for split in layout.splits() if data.name != "voc" or split in ours]
    counts = file_selection.verify(layout, splits)
    wrong = {s: n for s, n in counts.items() if n != data.expected_images.get(s, n)}
    told = [
        f"{s} has {n} images, {data.expected_images[s]} were published" for s, n in wrong.items()
    ]
    if wrong and job.source is None:
        accepting = " ".join(f"data.expected_images.{split}={n}" for split, n in wrong.items())
        raise UserError(f"{data.root}: {'; '.join(told)}. To accept it: {accepting}")
    for note in told:
        print(f"Note: {note}.")
    return counts


def _say_ready(
    config: PrepareConfig, data: DataConfig, counts: dict[str, int], notes: Sequence[str] = ()
) -> None:
    say_ready(
        config.data_choice,
        data_layout(data).root,
        counts,
        data.classes,
        wanted={"data.train_split": data.train_split, "data.val_split": data.val_split},
        notes=notes,
        typed=HydraConfig.get().overrides.task,
    )
