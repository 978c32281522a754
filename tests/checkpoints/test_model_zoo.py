"""Networks of the authors by name: their list, messages, and the cache of converted ones."""

import re
from urllib.parse import urlparse

import pytest

import deeplab
from deeplab.checkpoints import model_zoo
from deeplab.checkpoints.model_zoo import MODEL_ZOO, find_zoo_network
from deeplab.checkpoints.trained_run import find_trained_run
from deeplab.utils.errors import UserError
from support.scripts import CPU, SMALL, run, run_folders

SMALL_VOC = "deeplabv3_mobilenetv2_x0.5_voc"


def test_the_list_is_consistent():
    names = [network.name for network in MODEL_ZOO]
    files = [network.file for network in MODEL_ZOO]
    assert len(set(names)) == len(set(files)) == len(MODEL_ZOO)
    for network in MODEL_ZOO:
        address = urlparse(network.address)
        assert address.scheme == "https"
        assert address.path.endswith(f"/{network.file}.tar.gz")
        assert re.match(r"deeplabv3(plus)?_(xception|mobilenetv)", network.name)
        assert re.search(r"_20\d\d_\d\d_\d\d$", network.file)
        assert 0 < float(network.score.split()[0]) < 100


def test_the_page_lists_all_networks():
    page = (model_zoo.Path(__file__).parents[2] / "docs/weights.md").read_text()
    for network in MODEL_ZOO:
        (line,) = [line for line in page.splitlines() if f"`{network.name}`" in line]
        assert network.score in line


@pytest.mark.parametrize("key", ["run", "init_from"])
def test_names_that_cannot_be_used(key, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"{key}=deeplabv3plus_x: no such path.*{SMALL_VOC}"):
        find_zoo_network("deeplabv3plus_x", key)
    assert find_zoo_network("runs/deeplabv3plus_x", key) is None
    (tmp_path / SMALL_VOC).mkdir()
    assert find_zoo_network(SMALL_VOC, key) is None  # a folder of this name is meant


def test_without_tensorflow_nothing_is_downloaded(tmp_path):
    variables = {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "DEEPLAB_MODEL_ZOO_MIRROR": "http://127.0.0.1:9",
    }
    (tmp_path / "photo.jpg").touch()
    failed = run(
        "predict", f"weights={SMALL_VOC}", "input=photo.jpg", cwd=tmp_path, ok=False,
        variables=variables, without=["tensorflow"],
    )  # fmt: skip
    assert failed.returncode == 2
    assert f"run={SMALL_VOC}: tensorflow is not installed. Run pip install" in failed.stderr
    assert not list(tmp_path.rglob("*.part"))


@pytest.fixture
def cached(tmp_path):
    """Put a trained run into the cache, as if it were a network of the authors."""
    run("train", *SMALL, cwd=tmp_path)
    (folder,) = run_folders(tmp_path)
    place = tmp_path / "cache/deeplab/model_zoo" / SMALL_VOC
    place.mkdir(parents=True)
    for name in ("weights.safetensors", "config.yaml"):
        (place / name).write_bytes((folder / name).read_bytes())
    (place / "conversion.json").write_text("{}")
    (tmp_path / "photo.png").write_bytes((folder / "validation.png").read_bytes())
    return {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "DEEPLAB_MODEL_ZOO_MIRROR": "http://127.0.0.1:9",
    }


def test_a_converted_network_is_used_without_network_and_tensorflow(cached, tmp_path, monkeypatch):
    options = {"cwd": tmp_path, "variables": cached, "without": ["tensorflow"]}
    run("predict", f"weights={SMALL_VOC}", "input=photo.png", *CPU, **options)
    assert list((tmp_path / "predictions").rglob("photo*.png"))
    started = run("train", *SMALL, f"init_from={SMALL_VOC}", "seed=1", **options).stdout
    assert f"Weights:    {model_zoo.SERVER}/deeplabv3_mnv2_dm05_pascal_trainaug" in started
    assert "mIoU 70.19 (val, output stride 16)" in started
    run("evaluate", f"run={SMALL_VOC}", *CPU, **options)
    assert list((tmp_path / f"runs/{SMALL_VOC}/evaluations").glob("*/result.json"))
    for name, value in cached.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    assert deeplab.load(SMALL_VOC, device="cpu").classes[0] == "background"
    record = model_zoo.zoo_folder() / SMALL_VOC / "conversion.json"
    record.write_text('{"converted": "again"}')
    copy = find_trained_run(SMALL_VOC).folder.path
    assert (copy / record.name).read_text() == record.read_text()


@pytest.mark.extras
def test_a_network_is_downloaded_checked_and_converted_once(tmp_path):
    """A checkpoint of random values in the authors' naming, in an archive like theirs."""
    tf = pytest.importorskip("tensorflow")
    import tarfile

    import numpy as np

    from support import slim_variables as slim
    from support.servers import serving

    shapes = [*slim.mobilenetv2(half=True), *slim.head(160, atrous=False)]
    generator = np.random.default_rng(0)
    place = tmp_path / "deeplabv3_mnv2_dm05_pascal_trainaug"
    place.mkdir()
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, shape in shapes:
            value = np.abs(generator.standard_normal(shape)).astype(np.float32) * 0.1
            tf.compat.v1.get_variable(name, initializer=value)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, str(place / "model.ckpt"), write_meta_graph=False)
    archive = tmp_path / "archive.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(place, place.name)
    from PIL import Image

    photo = generator.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(photo).save(tmp_path / "a.png")
    with serving(archive.read_bytes()) as site:
        variables = {
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "DEEPLAB_MODEL_ZOO_MIRROR": site.url.removesuffix("/file"),
        }
        command = ("predict", f"weights={SMALL_VOC}", "input=a.png", *CPU)
        first = run(*command, cwd=tmp_path, variables=variables)
        assert "this is done once" in first.stdout
        assert len(site.requested_ranges) == 1
        second = run(*command, cwd=tmp_path, variables=variables)
        assert "this is done once" not in second.stdout
        assert len(site.requested_ranges) == 1
        folder = tmp_path / "cache/deeplab/model_zoo" / SMALL_VOC
        assert {*model_zoo.FILES, model_zoo.CHECKSUM} <= {p.name for p in folder.iterdir()}
        assert not list(folder.glob("*.tar.gz"))
        (folder / model_zoo.CHECKSUM).write_text("0" * 64)
        (folder / "weights.safetensors").unlink()
        changed = run(*command, cwd=tmp_path, variables=variables, ok=False)
        assert changed.returncode == 2
        assert "its checksum is sha256:" in changed.stderr
