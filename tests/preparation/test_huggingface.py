"""Data sets of the Hugging Face hub, from a local folder in its form and from a local hub."""

import json
import re

import numpy as np
import pytest
import yaml
from PIL import Image

from deeplab.data.layouts.huggingface import HuggingFaceSettings
from deeplab.preparation.huggingface import prepare_huggingface
from deeplab.preparation.manifest import read_manifest
from deeplab.utils.errors import UserError
from support import hubs
from support.scripts import SMALL, run, run_folders

pytestmark = pytest.mark.extras
datasets = pytest.importorskip("datasets")

NAMES = ["ground", "plant", "water"]
COUNTS = {"train": 6, "validation": 2}


def png(array, folder, name, **options):
    """Write an image, and return its path."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def scene(seed):
    generator = np.random.default_rng(seed)
    label = np.kron(generator.integers(0, 3, (5, 6)), np.ones((10, 10))).astype(np.uint8)
    label[0] = 255
    return generator.integers(0, 256, (50, 60, 3), np.uint8), label


def repository(folder, columns=("pixel_values", "label"), *, embedded=True, rotated=False):
    """Write a data set as the hub holds it: a file of rows for each split."""
    exif = Image.Exif()
    exif[0x0112] = 6 if rotated else 1
    for split, count in COUNTS.items():
        files = {column: [] for column in columns}
        for i in range(count):
            image, label = scene(seed=i + 100 * (split == "train"))
            place, name = folder.parent / f"{folder.name}-files", f"{split}-{i}"
            stored = np.rot90(image) if rotated else image
            paths = [png(stored, place, f"{name}.jpg", exif=exif)]
            paths += 2 * [png(label, place, f"{name}.png")]
            for column, path in zip(columns, paths, strict=False):
                entry = {"bytes": path.read_bytes(), "path": path.name}
                files[column].append(entry if embedded else {"bytes": None, "path": str(path)})
        files["id"] = list(range(count))
        features = {column: datasets.Image() for column in columns}
        rows = datasets.Dataset.from_dict(
            files, features=datasets.Features({**features, "id": datasets.Value("int64")})
        )
        (folder / "data").mkdir(parents=True, exist_ok=True)
        rows.to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")
    return folder


def prepare(folder, root, monkeypatch, *, overwrite=False, **keys):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", root.parent / "cache")
    settings = HuggingFaceSettings(name="huggingface", path=str(folder), root=str(root), **keys)
    return prepare_huggingface(settings, overwrite=overwrite, progress=False)


def test_train_on_a_data_set_of_a_hub(tmp_path):
    folder = repository(tmp_path / "repository")
    names = json.dumps(dict(enumerate(NAMES))).encode()
    (folder / "id2label.json").write_bytes(names)
    files = {f"somebody/scenes/{p.relative_to(folder)}": p.read_bytes()
             for p in folder.rglob("*") if p.is_file()}  # fmt: skip
    path = "data.path=somebody/scenes"
    with hubs.hub(files, datasets=True) as hub:
        variables = hub.variables(tmp_path / "home")
        done = run("prepare", "data=huggingface", path, cwd=tmp_path, variables=variables)
    assert re.search(r"train +6 images +images/train", done.stdout)
    assert re.search(r"val +2 images +images/validation", done.stdout)
    assert "HTTP" not in done.stdout + done.stderr
    root = tmp_path / "data/somebody/scenes"
    assert yaml.safe_load((root / "classes.yaml").read_text()) == {"classes": NAMES}
    for i in range(6):
        assert np.array_equal(np.asarray(Image.open(root / f"masks/train/{i:06d}.png")),
                              scene(100 + i)[1])  # fmt: skip
    original = tmp_path / "repository-files/train-3.jpg"
    assert (root / "images/train/000003.jpg").read_bytes() == original.read_bytes()
    # without the hub from here on
    gone = {**variables, "HF_ENDPOINT": "http://127.0.0.1:9"}
    again = run("prepare", "data=huggingface", path, cwd=tmp_path, variables=gone)
    assert "is ready" in again.stdout
    small = [s for s in SMALL if "num_" not in s and "_size" not in s]
    tiny = ("backbone=resnet_tiny", "aspp=tiny", "decoder=tiny", "data.crop_size=33")
    run("train", "data=huggingface", path, *small, *tiny, cwd=tmp_path, variables=gone)
    assert len(run_folders(tmp_path)) == 1


def test_an_interrupted_preparation_goes_on(tmp_path, monkeypatch):
    folder, root = repository(tmp_path / "repository"), tmp_path / "out"
    assert prepare(folder, root, monkeypatch)
    before = {p: p.read_bytes() for p in root.rglob("*.*g")}
    assert len(before) == 16
    (root / ".preparing").touch()
    kept = root / "masks/train/000001.png"
    kept.write_bytes(b"kept")
    (root / "masks/train/000002.png").unlink()
    assert prepare(folder, root, monkeypatch)
    assert kept.read_bytes() == b"kept"
    kept.write_bytes(before[kept])
    assert {p: p.read_bytes() for p in root.rglob("*.*g")} == before
    assert not prepare(folder, root, monkeypatch)


def test_another_data_set_is_not_taken_for_the_one_that_is_there(tmp_path, monkeypatch):
    first, second = repository(tmp_path / "first"), repository(tmp_path / "second", rotated=True)
    root = tmp_path / "out"
    prepare(first, root, monkeypatch)
    (root / ".preparing").touch()  # as an interrupted one leaves it
    (root / "classes.yaml").write_text("classes: [a, b, c]\n")
    for changed in ((second, {}), (first, {"image_column": "pixel_values"})):
        with pytest.raises(
            UserError, match=r"it holds data\.path=.*first, and not .*overwrite=true"
        ):
            prepare(changed[0], root, monkeypatch, **changed[1])
    assert prepare(second, root, monkeypatch, overwrite=True)
    assert len(list(root.glob("images/*/*.png"))) == 8
    assert not list(root.glob("images/*/*.jpg"))
    (aside,) = root.glob("classes.yaml.*")
    assert aside.read_text() == "classes: [a, b, c]\n"
    (root / "classes.yaml").write_text("classes: [d, e, f]\n")
    assert prepare(second, root, monkeypatch, overwrite=True)  # the same images
    assert (root / "classes.yaml").read_text() == "classes: [d, e, f]\n"


def test_rotated_photos_become_upright(tmp_path, monkeypatch):
    folder, root = repository(tmp_path / "repository", rotated=True), tmp_path / "out"
    prepare(folder, root, monkeypatch)
    written = np.asarray(Image.open(root / "images/train/000000.png"), int)
    assert written.shape == (50, 60, 3)
    coarse = np.abs(written.mean() - scene(100)[0].mean())
    assert coarse < 5
    assert not list(root.glob("images/train/*.jpg"))


@pytest.mark.parametrize(
    ("columns", "keys", "message"),
    [
        (("photo", "label"), {}, None),
        (("left", "right"), {}, r"which column has the images .* \(left, right\)"),
        (("left", "right"), {"image_column": "left", "mask_column": "right"}, None),
        (("image", "mask", "label"), {}, r"which column has the masks"),
        (("image", "mask"), {"mask_column": "id"}, r"data\.mask_column=id"),
        (("image",), {}, r"which column has the masks"),
    ],
)
def test_columns_are_found_or_asked_for(columns, keys, message, tmp_path, monkeypatch):
    repository(tmp_path / "repository", columns)
    if message is None:
        assert prepare(tmp_path / "repository", tmp_path / "out", monkeypatch, **keys)
        return
    with pytest.raises(UserError, match=message):
        prepare(tmp_path / "repository", tmp_path / "out", monkeypatch, **keys)
    assert not (tmp_path / "out").exists()


def test_files_outside_of_the_data_set_are_not_read(tmp_path, monkeypatch):
    folder = repository(tmp_path / "repository", embedded=False)
    with pytest.raises(UserError, match="is no file of the data set"):
        prepare(folder, tmp_path / "out", monkeypatch)


def replace_mask(folder, split, index, cell):
    """Write the rows of a split with another content of one mask."""
    path = folder / "data" / f"{split}-00000-of-00001.parquet"
    rows = datasets.Dataset.from_parquet(str(path))
    masks = rows.cast_column("label", datasets.Image(decode=False))["label"][:]
    masks[index] = cell
    changed = rows.remove_columns("label").add_column("label", masks)
    changed.cast_column("label", datasets.Image()).to_parquet(path)


def test_a_row_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    folder, root = repository(tmp_path / "repository"), tmp_path / "out"
    part = png(scene(0)[1], tmp_path, "mask.bmp").read_bytes()[:-99]
    for content, problem in ((b"no", "no image"), (part, "truncated")):
        replace_mask(folder, "train", 3, {"bytes": content, "path": None})
        with pytest.raises(UserError, match=f"row 3 of the split train cannot .*{problem}"):
            prepare(folder, root, monkeypatch)


def test_rows_without_a_mask_are_left_out(tmp_path, monkeypatch, capsys):
    folder, root = repository(tmp_path / "repository"), tmp_path / "out"
    replace_mask(folder, "validation", 0, None)
    assert prepare(folder, root, monkeypatch)
    assert "validation: 1 row without an image or a mask left out" in capsys.readouterr().out
    assert read_manifest(root).splits == {"train": 6, "validation": 1}
    assert {path.stem for path in root.glob("*/validation/*")} == {"000001"}


def test_errors_are_one_line(tmp_path):
    for arguments, message in (
        (["data.path=no/such"], r"data\.path=no/such: it cannot be loaded"),
        ([], r"data\.path: this key has no value"),
    ):
        variables = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "1"}
        done = run(
            "prepare", "data=huggingface", *arguments, cwd=tmp_path, ok=False, variables=variables
        )
        assert done.returncode
        assert re.search(message, done.stderr.splitlines()[-1])
        assert "Traceback" not in done.stderr
    done = run("train", "data=huggingface", "data.path=a/b", *SMALL[-2:], cwd=tmp_path, ok=False)
    assert "Run deeplab prepare data=huggingface data.path=a/b" in done.stderr
