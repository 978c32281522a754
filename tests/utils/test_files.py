"""Writing of files."""

import torch
from safetensors.torch import save_file

from deeplab.utils.files import UMASK, atomic_write, write_json


def test_files_have_the_mode_of_the_umask_whichever_library_writes_them(tmp_path):
    with atomic_write(tmp_path / "weights.safetensors") as draft:
        save_file({"a": torch.zeros(1)}, draft)
    write_json(tmp_path / "a.json", {})
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("weights.safetensors", "a.json"), 0o666 & ~UMASK)
