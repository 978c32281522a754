"""Writing of a data set of the Hugging Face hub into a folder of images and masks."""

import io
import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from deeplab.data.image_header import FORMATS
from deeplab.data.layouts.file_names import CLASSES_FILE, ROLE_WORDS, Role
from deeplab.data.layouts.huggingface import HuggingFaceSettings
from deeplab.preparation import manifest
from deeplab.preparation.manifest import Manifest
from deeplab.utils.errors import UserError
from deeplab.utils.extras import require_extra
from deeplab.utils.files import aside_path, atomic_write, write_text
from deeplab.utils.progress import show_progress
from deeplab.utils.reading import describe
from deeplab.utils.text import pluralize

COLUMNS: dict[Role, tuple[str, ...]] = {
    "image": (*ROLE_WORDS["image"], "pixel_values", "rgb"),
    "mask": (*ROLE_WORDS["mask"], "semantic_segmentation", "labels_map"),
}
"""Names of the columns that are tried."""

CLASS_NAMES = "id2label.json"
"""File of a repository with the names of the classes by their values."""

SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif", "BMP": ".bmp"}
"""Ends of the names of images that are written as they are."""


def prepare_huggingface(settings: HuggingFaceSettings, *, overwrite: bool, progress: bool) -> bool:
    """Write the images, the masks and the names of the classes below ``data.root``.

    An interrupted preparation goes on; images that are written already are left alone.

    Returns:
        False if the folder was ready.

    Raises:
        UserError: the data set cannot be had, or its columns are not clear.
    """
    root = Path(settings.root).expanduser()
    source = _source(settings)
    prepared = manifest.read_manifest(root).parts
    if prepared and prepared != {source} and not overwrite:
        raise UserError(
            f"data.root={settings.root}: it holds {', '.join(prepared)}, and not {source}. Set "
            "data.root to another folder, or overwrite=true."
        )
    if manifest.is_complete(root) and not overwrite:
        return False
    require_extra("huggingface", "datasets", setting="data=huggingface")
    for name in ("datasets", "httpx", "httpx2"):  # they log each request
        logging.getLogger(name).setLevel(logging.WARNING)
    splits = _load(settings, progress)
    columns = _columns(settings, next(iter(splits.values())).features)
    with manifest.locked_for_preparation(root):
        manifest.mark_incomplete(root)
        if prepared and overwrite:  # these were written here, perhaps with other names
            for folder in ("images", "masks"):
                shutil.rmtree(root / folder, ignore_errors=True)
            if prepared != {source} and (root / CLASSES_FILE).exists():
                kept = aside_path(root / CLASSES_FILE)
                (root / CLASSES_FILE).rename(kept)
                print(f"{CLASSES_FILE} of the earlier images is now {kept.name}")
        manifest.write_manifest(root, Manifest(frozenset([source]), {}))
        counts = {}
        for name, rows in splits.items():
            if count := _write_split(root, name, _files(rows, columns, name, progress), settings):
                counts[name] = count
            if count < len(rows):
                left_out = pluralize(len(rows) - count, "row")
                print(f"{name}: {left_out} without an image or a mask left out")
        names = list(settings.classes) or _class_names(settings)
        if names and not (root / CLASSES_FILE).exists():
            content = yaml.safe_dump({"classes": names}, allow_unicode=True, sort_keys=False)
            write_text(root / CLASSES_FILE, content)
        manifest.write_manifest(root, Manifest(frozenset([source]), counts))
        manifest.mark_complete(root)
    return True


def _source(settings: HuggingFaceSettings) -> str:
    """Return the keys that decide which images are written, as they are typed."""
    keys = ("path", "subset", "revision", "image_column", "mask_column")
    values = {key: getattr(settings, key) for key in keys}
    return " ".join(f"data.{key}={value}" for key, value in values.items() if value is not None)


def _load(settings: HuggingFaceSettings, progress: bool) -> dict[str, Any]:
    """Return the splits by name, from the cache or downloaded."""
    import datasets

    if not progress:
        datasets.disable_progress_bars()
    path = Path(settings.path).expanduser()
    name = str(path) if path.is_dir() else settings.path
    try:
        loaded = datasets.load_dataset(name, settings.subset, revision=settings.revision)
    except Exception as error:  # of several libraries
        lines = str(error).strip().splitlines() or [type(error).__name__]
        hint = " Set data.subset to one of them." if "onfig name is missing" in lines[0] else ""
        raise UserError(
            f"data.path={settings.path}: it cannot be loaded ({' '.join(lines)[:400]}).{hint} The "
            "name is that on huggingface.co/datasets; a private or gated one needs hf auth login."
        ) from None
    return dict(loaded)


def _columns(settings: HuggingFaceSettings, features: Any) -> tuple[str, str]:
    """Return the columns of images and masks.

    Raises:
        UserError: there is none, or several may be meant.
    """
    import datasets

    images = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
    roles: tuple[Role, ...] = ("image", "mask")
    found: dict[Role, str] = {}
    for role in roles:
        key = f"{role}_column"
        chosen = getattr(settings, key)
        fitting = [name for name in images if name.lower() in COLUMNS[role]]
        fitting = [chosen] if chosen else fitting
        if len(fitting) != 1 or fitting[0] not in images:
            given = f"{key}={chosen}" if chosen else f"path={settings.path}"
            raise UserError(
                f"data.{given}: which column has the {role}s is not clear. Set data.{key} to one "
                f"of the columns of images ({', '.join(images) or 'there are none'})."
            )
        found[role] = fitting[0]
    return found["image"], found["mask"]


def _files(rows: Any, columns: Sequence[str], split: str, progress: bool) -> Iterator[Any]:
    """Yield what each row holds of its image and its mask, which are not decoded."""
    import datasets

    for column in columns:
        rows = rows.cast_column(column, datasets.Image(decode=False))
    rows = rows.select_columns(list(columns))
    for row in show_progress(rows, f"Writing {split}", len(rows), "img", show=progress):
        yield tuple(row[column] for column in columns)


def _write_split(
    root: Path, split: str, files: Iterator[Any], settings: HuggingFaceSettings
) -> int:
    """Write the images that have a mask, and the masks; return their number.

    Raises:
        UserError: an image or a mask cannot be read; or a row names a file that is not one of the
            data set.
    """
    import datasets
    from huggingface_hub import constants

    places = [datasets.config.HF_CACHE_HOME, constants.HF_HUB_CACHE, settings.path]
    folders = [Path(folder).expanduser().resolve() for folder in places]
    count = 0
    for index, (image, mask) in enumerate(files):
        if image is None or mask is None:
            continue
        count += 1
        target = root / f"masks/{split}/{index:06d}.png"
        if target.exists():
            continue
        try:
            suffix, image_content = _upright_image(_content(image, folders))
            mask_content = _png_mask(_content(mask, folders))
        except UserError:
            raise
        except Exception as error:  # of PIL, of any kind
            unknown = isinstance(error, UnidentifiedImageError)
            problem = "there is no image that can be decoded" if unknown else describe(error)
            raise UserError(
                f"data.path={settings.path}: row {index} of the split {split} cannot be read "
                f"({problem}). Get an undamaged copy of the data set, or use another one."
            ) from None
        _write(root / f"images/{split}/{index:06d}{suffix}", image_content)
        _write(target, mask_content)
    return count


def _content(file: Any, folders: Sequence[Path]) -> bytes:
    content: bytes | None = file["bytes"]
    if content is not None:
        return content
    path = Path(file["path"])
    if not any(path.resolve().is_relative_to(folder) for folder in folders):
        raise UserError(
            f"data.path: {path} is named by a row, but is no file of the data set. Use one that "
            "holds its images."
        )
    return path.read_bytes()


def _upright_image(content: bytes) -> tuple[str, bytes]:
    """Return the suffix and the file of an image; upright as PNG if EXIF rotates it."""
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        suffix = SUFFIXES.get(str(image.format))
        if (
            suffix is None or image.getexif().get(ExifTags.Base.Orientation, 1) != 1
        ):  # masks are upright
            buffer = io.BytesIO()
            ImageOps.exif_transpose(image).save(buffer, "PNG")
            suffix, content = ".png", buffer.getvalue()
    return suffix, content


def _png_mask(content: bytes) -> bytes:
    """Return the file of a mask as PNG, with the values that it has."""
    with Image.open(io.BytesIO(content), formats=FORMATS) as mask:
        if mask.format != "PNG":
            buffer = io.BytesIO()
            ImageOps.exif_transpose(mask).save(buffer, "PNG")
            content = buffer.getvalue()
    return content


def _write(target: Path, content: bytes) -> None:
    with atomic_write(target, flush=False) as draft:
        draft.write_bytes(content)


def _class_names(settings: HuggingFaceSettings) -> list[str]:
    """Return the names in the repository's ``id2label.json``; none without one.

    A line says if it cannot be read or is of another form: the masks then tell the classes.
    """
    from huggingface_hub import errors, hf_hub_download

    folder = Path(settings.path).expanduser()
    try:
        path = folder / CLASS_NAMES
        if not folder.is_dir():
            path = Path(
                hf_hub_download(
                    settings.path, CLASS_NAMES, repo_type="dataset", revision=settings.revision
                )
            )
        names = {int(index): str(name) for index, name in json.loads(path.read_text()).items()}
        if names and sorted(names) == list(range(len(names))):
            return [names[index] for index in range(len(names))]
        problem = "it does not name classes from 0 on"
    except errors.LocalEntryNotFoundError:
        problem = "the hub cannot be reached"
    except (FileNotFoundError, errors.EntryNotFoundError):
        return []
    except Exception as error:  # of a network or of another form
        problem = describe(error)
    print(f"{CLASS_NAMES} of {settings.path} is not used: {problem}")
    return []
