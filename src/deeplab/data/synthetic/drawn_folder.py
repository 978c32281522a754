"""Folders of drawn images, which are named by what the images depend on."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from deeplab.data.settings import SyntheticSettings
from deeplab.utils.errors import UserError
from deeplab.utils.files import atomic_folder
from deeplab.utils.settings import added_keys


def drawing_keys(settings: SyntheticSettings, schema: type[SyntheticSettings]) -> dict[str, Any]:
    """Return the settings that drawn images depend on."""
    return settings.model_dump(
        mode="json", include=set(schema.model_fields), exclude=added_keys(settings)
    )


def drawn_folder(root: str | Path, keys: Mapping[str, Any]) -> Path:
    """Return the folder of drawn images below ``root``; its name is a hash of ``keys``."""
    text = json.dumps(keys, sort_keys=True)
    return Path(root).expanduser() / hashlib.sha256(text.encode()).hexdigest()[:8]


def get_or_draw_folder(
    root: str | Path, keys: Mapping[str, Any], draw: Callable[[Path], None]
) -> Path:
    """Return the folder of drawn images below ``root``; let ``draw`` fill it if it is missing.

    Its name is a hash of ``keys``, on which the images depend. It gets its name when it is
    complete, so that neither an interruption nor a second process that draws the same images
    leaves an incomplete folder.

    Raises:
        UserError: ``root`` cannot be written.
    """
    target = drawn_folder(root, keys)
    if target.is_dir():
        return target
    try:
        with atomic_folder(target) as draft:
            draw(draft)
            (draft / "settings.json").write_text(json.dumps(keys, indent=2) + "\n")
    except OSError as error:
        raise UserError(
            f"data.root={root}: cannot draw the images into this folder ({error.strerror}). Set "
            "data.root to a writable folder."
        ) from None
    return target
