"""Preparation of a configured data set as a sequence of steps."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlparse

from hydra.core.hydra_config import HydraConfig

from deeplab.config.schema.scripts import PrepareConfig
from deeplab.data.layouts.base import check_data, data_layout
from deeplab.data.layouts.cityscapes import CityscapesSettings
from deeplab.data.layouts.coco import COCOSettings
from deeplab.data.layouts.huggingface import HuggingFaceSettings
from deeplab.data.layouts.voc import VOCSettings
from deeplab.preparation import file_selection, manifest
from deeplab.preparation.local_source import (
    EMPTY_SOURCE,
    Source,
    find_archive,
    find_source,
    install_source,
)
from deeplab.preparation.make_masks import make_coco_masks, make_voc_masks, masks_match_settings
from deeplab.preparation.manifest import Manifest
from deeplab.preparation.run_doctor import check_no_source
from deeplab.preparation.summary import print_summary
from deeplab.utils import disk_space
from deeplab.utils.archives import check_archive
from deeplab.utils.disk_space import SpaceRequirement
from deeplab.utils.download import Archive, fetch_all
from deeplab.utils.errors import UserError
from deeplab.utils.extras import require_extra
from deeplab.utils.files import check_writable

PublishedSettings = VOCSettings | COCOSettings | CityscapesSettings


@dataclass(frozen=True)
class _Job:
    """The settings of a preparation and the state of the folder before it."""

    config: PrepareConfig
    data: PublishedSettings
    previous: Manifest  # the parts that earlier preparations completed
    redo: bool  # True to prepare these again

    @property
    def root(self) -> Path:
        return Path(self.data.root).expanduser()

    @property
    def source(self) -> Path | None:
        return Path(self.config.source).expanduser() if self.config.source else None

    @property
    def download_dir(self) -> Path:
        return Path(self.config.download_dir).expanduser()

    @property
    def missing_parts(self) -> tuple[str, ...]:
        """The parts to prepare."""
        return tuple(p for p in self.data.parts if self.redo or p not in self.previous.parts)

    @property
    def names(self) -> dict[str, str]:
        """The file name of each part's archive."""
        names: dict[str, str] = {}
        for part, archive in self.data.archives.items():
            name = PurePosixPath(urlparse(archive.url).path).name if archive.url else f"{part}.zip"
            names[part] = name if name and name not in names.values() else f"{part}-{name}"
        return names


def run_preparation(config: PrepareConfig) -> None:
    """Prepare the missing parts of a data set, verify them, and print a summary."""
    if config.splits:
        raise UserError("splits: only the doctor examines splits. Set check=true, or leave it out.")
    if isinstance(config.data, PublishedSettings):
        previous = manifest.read_manifest(Path(config.data.root).expanduser())
        redo = config.overwrite or not _is_intact(config, config.data, previous)
        _prepare(_Job(config, config.data, previous, redo))
    else:
        check_no_source(config)
        if isinstance(config.data, HuggingFaceSettings):
            from deeplab.preparation.huggingface import prepare_huggingface

            options = {"overwrite": config.overwrite, "progress": config.enable_progress_bar}
            if not prepare_huggingface(config.data, **options):
                print(f"{config.data.root} is ready (overwrite=true prepares it again).")
        data = check_data(config.data)
        layout = data_layout(data)
        counts = {}
        notes = [*layout.notes()]
        for split in layout.splits():
            try:
                counts[split] = len(layout.items(split))
            except UserError as error:
                notes.append(str(error))
        print_summary(
            config.data_choice, layout, data, counts, notes, HydraConfig.get().overrides.task
        )


def _is_intact(config: PrepareConfig, data: PublishedSettings, previous: Manifest) -> bool:
    """Return True if all files of the manifest exist.

    With a local source, which may have been completed since, the splits must also have as many
    images as were published.
    """
    expected = {
        split: data.expected_images.get(split, count) for split, count in previous.splits.items()
    }
    if config.source and expected != previous.splits:
        return False
    try:
        layout = data_layout(data, require_complete=False) if expected else None
        return layout is None or bool(file_selection.verify(layout, expected))
    except UserError as error:
        print(f"data.root={data.root}: files were removed after the preparation: {error}")
        return False


def _prepare(job: _Job) -> None:
    config, data, root = job.config, job.data, job.root
    if _is_done(job):
        print(f"{data.root} is ready; nothing to do (overwrite=true prepares it again).")
        return
    archives = [] if job.source else _downloads(job)
    source = _find_source(job, job.source) if job.source else EMPTY_SOURCE
    parts_to_add = [*source.archives, *source.parts] if job.source else job.missing_parts
    _check_packages(job, parts_to_add)
    for archive in source.archives.values():
        check_archive(archive)
    for folder, key in (
        (root, "data.root"),
        *[(job.download_dir, "download_dir")] * bool(archives),
    ):
        check_writable(folder, f"{key}={folder}")
    print(f"Preparing {config.data_choice} ({', '.join(parts_to_add) or 'masks and lists'})")
    disk_space.check_space(_space_requirements(job, source))
    with manifest.locked_for_preparation(root):
        if archives:
            paths = fetch_all(archives, job.download_dir, progress=config.enable_progress_bar)
            downloaded = dict(zip(job.missing_parts, paths, strict=True))
            source = EMPTY_SOURCE._replace(archives=downloaded)
        manifest.mark_incomplete(root)
        installed = install_source(
            source, root, data.name, overwrite=config.overwrite, progress=config.enable_progress_bar
        )
        parts = job.previous.parts | installed
        _derive(job, parts)
        counts = _count_images(job)
        manifest.write_manifest(root, Manifest(parts, counts))
        missing = _missing_archives(job, parts)
        if not counts:
            raise UserError(
                f"data.root={root}: {', '.join(sorted(parts))} alone is not enough for any split. "
                f"Run this again with a source that has {' and '.join(missing)}; existing files "
                "are kept."
            )
        manifest.mark_complete(root)
    notes = [f"Missing: {', '.join(missing)}"] * bool(missing)
    if archives:
        notes.append(f"No longer needed: {', '.join(map(str, paths))}")
    arguments = HydraConfig.get().overrides.task
    print_summary(config.data_choice, data_layout(data), data, counts, notes, arguments)


def _check_packages(job: _Job, parts_to_add: Collection[str]) -> None:
    """Check, before anything is downloaded, the packages that read these parts."""
    setting = f"data={job.config.data_choice}"
    if isinstance(job.data, COCOSettings):
        require_extra("coco", "pycocotools", setting=setting)
    elif "sbd" in parts_to_add:
        require_extra("voc", "scipy", setting=f"{setting} with SBD")


def _is_done(job: _Job) -> bool:
    parts = set(job.data.parts)
    if job.source and job.source.is_file():
        name = job.source.name
        parts = {part for part in job.names if job.names[part] == name} or {name}
    if job.redo or not manifest.is_complete(job.root) or not parts <= job.previous.parts:
        return False
    if not isinstance(job.data, COCOSettings):
        return True
    prepared = job.previous.splits
    splits = [split for split in job.data.annotations if split in prepared]
    return masks_match_settings(job.root, splits, job.data.category_ids, job.data.min_pixels)


def _downloads(job: _Job) -> list[Archive]:
    """Return the archives to download.

    Raises:
        UserError: an archive has no URL, or no checksum.
    """
    configs = {part: job.data.archives[part] for part in job.missing_parts}
    site = " (cityscapes-dataset.com/downloads)" if job.data.name == "cityscapes" else ""
    if without_url := [job.names[part] for part, archive in configs.items() if archive.url is None]:
        raise UserError(
            f"data={job.config.data_choice}: the download requires a login. Download "
            f"{' and '.join(without_url)} from the data set's site{site} into a folder and set "
            "source=FOLDER."
        )
    archives = []
    for part, archive in configs.items():
        if archive.checksum is None:
            raise UserError(
                f"data.archives.{part}.checksum=null: {archive.url} is only downloaded with a "
                "checksum. Set it to md5:... or sha256:..."
            )
        assert archive.url is not None
        archives.append(Archive(job.names[part], archive.url, archive.checksum, archive.size))
    return archives


def _find_source(job: _Job, path: Path) -> Source:
    """Return the archives and files of the source; print which parts it lacks."""
    source = find_source(path, job.root, job.data.name, job.names, job.missing_parts)
    missing = _missing_archives(job, job.previous.parts | {*source.archives, *source.parts})
    if missing and path.is_dir():
        print(f"Not in {path}, so left out: {', '.join(missing)}")
    other_names = [name for part, name in job.names.items() if part not in job.data.parts]
    if unused := [name for name in other_names if path.is_dir() and find_archive(path, name)]:
        print(f"Also in {path}, but not among data.parts: {', '.join(unused)}")
    return source


def _missing_archives(job: _Job, parts: Collection[str]) -> list[str]:
    return [job.names[part] for part in job.data.parts if part not in parts]


def _space_requirements(job: _Job, source: Source) -> list[SpaceRequirement]:
    """Return the disk space that each step needs."""
    requirements = []
    if job.source:
        unpacked = sum(path.stat().st_size for path in source.archives.values())
    else:
        sizes = {job.names[part]: job.data.archives[part].size for part in job.missing_parts}
        if sizes:
            requirements.append(disk_space.download_requirement(job.download_dir, sizes))
        unpacked = sum(size or 0 for size in sizes.values())
        if not job.previous.parts:
            unpacked = int(job.data.unpacked_gb * 1e9)
    if unpacked:
        adds_parts = job.previous.parts and not job.previous.parts >= {
            *source.archives,
            *job.missing_parts,
        }
        existing = 0 if adds_parts else disk_space.folder_size(job.root)
        requirements.append(SpaceRequirement("unpack", job.root, max(0, unpacked - existing)))
    if source.files and not disk_space.is_same_disk(next(iter(source.files)), job.root):
        copied = sum(file.stat().st_size for file in source.files)
        requirements.append(SpaceRequirement("copy", job.root, copied))
    return requirements


def _derive(job: _Job, parts: frozenset[str]) -> None:
    data, config = job.data, job.config
    if isinstance(data, COCOSettings):
        make_coco_masks(
            job.root,
            annotations=data.annotations,
            category_ids=data.category_ids,
            min_pixels=data.min_pixels,
            overwrite=config.overwrite,
            num_workers=config.num_processes,
            progress=config.enable_progress_bar,
        )
    elif "sbd" in parts:
        make_voc_masks(
            job.root,
            overwrite=config.overwrite,
            num_workers=config.num_processes,
            progress=config.enable_progress_bar,
        )


def _count_images(job: _Job) -> dict[str, int]:
    """Return the number of images of each split; compare them with the published numbers."""
    data = job.data
    try:
        layout = data_layout(data, require_complete=False)
    except UserError:  # the files that define the splits do not exist yet
        return {}
    configured = f"{data.train_split}+{data.val_split}".split("+")
    # VOC's folder may have more lists
    known_splits = {*file_selection.VOC_SPLITS, *data.expected_images, *configured}
    splits = [split for split in layout.splits() if data.name != "voc" or split in known_splits]
    counts = file_selection.verify(layout, splits)
    wrong = {s: n for s, n in counts.items() if n != data.expected_images.get(s, n)}
    differences = [
        f"{s} has {n} images, {data.expected_images[s]} were published" for s, n in wrong.items()
    ]
    if wrong and job.source is None:
        overrides = " ".join(f"data.expected_images.{split}={n}" for split, n in wrong.items())
        raise UserError(
            f"data.root={data.root}: {'; '.join(differences)}. To accept this, add {overrides}"
        )
    for difference in differences:
        print(f"Note: {difference}.")
    return counts
