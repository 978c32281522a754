"""Shards of labeled images: the same as files, their index, damage, clouds."""

import csv
import io
import pickle
import tarfile

import fsspec
import pytest
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem
from safetensors.numpy import load_file

from deeplab.data.bad_files import BadFileError
from deeplab.data.classification.dataset import ClassificationDataset
from deeplab.data.classification.transforms import CentralCrop
from deeplab.data.image_io import read_image
from deeplab.data.layouts.shards import shard_index
from deeplab.data.layouts.webdataset import WebDatasetLayout, WebDatasetSettings
from deeplab.data.packed_file import PackedFile
from deeplab.utils.errors import UserError
from support.s3_server import serving
from support.scripts import CPU, run
from support.shard_files import jpeg, samples, shard_tree, write_tar

SMALL = (
    "stage=imagenet",
    "data.crop_size=33",
    "backbone=mobilenetv2",
    "stage.max_steps=4",
    "stage.batch_size=2",
    "trainer.num_validations=1",
    *CPU,
    "logger=csv",
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/deeplab/shards"


def open_shards(root, **keys):
    return WebDatasetLayout(WebDatasetSettings(name="webdataset", root=str(root), **keys))


def run_folder(done, cwd):
    return cwd / done.stdout.split("Run folder: ")[1].split()[0]


def content(images):
    return [(image.id, image.path.read_bytes(), image.labels) for image in images]


def test_images_and_labels_of_shards(tmp_path):
    layout = open_shards(shard_tree(tmp_path / "s"))
    assert layout.splits() == ["train", "val"]
    assert layout.classes == ("0", "1", "2")
    labels = [(2,), (0,), (1,), (0,), (0,)]
    assert content(layout.images("train")) == [
        (f"set-train-{i // 3:04}.tar/{i:06}.jpg", jpeg(i), label) for i, label in enumerate(labels)
    ]
    both = layout.images("train+val")
    assert len(both) == layout.num_images("train") + layout.num_images("val") == 7
    assert both[-1] == layout.images("val")[1]
    assert [*both.ids()] == [image.id for image in both]


def test_a_dataset_reads_shards_in_any_order_and_in_other_processes(tmp_path):
    images = open_shards(shard_tree(tmp_path / "s")).images("train")
    dataset = ClassificationDataset("train", images, crop=CentralCrop(size=8, crop_pct=1))
    batch = pickle.loads(pickle.dumps(dataset)).__getitems__([4, 1])
    assert batch["label"].tolist() == [[0], [0]]
    crop = dataset.__getitems__([1])["image"][0]
    assert (batch["image"][1] == crop).all()
    files = [(tmp_path / f"{i}.jpg") for i in range(2)]
    for number, file in enumerate(files):
        file.write_bytes(jpeg(number))
    assert (read_image(images[1].path) == read_image(files[1])).all()
    assert len(pickle.dumps(images)) < 2000  # the arrays stay where they are


def test_a_training_is_the_same_from_shards_and_from_files(tmp_path):
    labels = [["0", "1", "2", "1"], ["2", "0"]]
    shards = shard_tree(tmp_path / "s", labels, val=("1", "2"))
    files = tmp_path / "f"
    files.mkdir()
    for split in ("train", "val"):
        with (files / f"{split}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            for image in open_shards(shards).images(split):
                path = files / image.id.replace("/", "-")
                path.write_bytes(image.path.read_bytes())
                rows.writerow([path.name, image.labels[0]])
    (files / "classes.txt").write_text("0\n1\n2\n")
    of_files = ("data=imagenet", f"data.root={files}", "data.labels=single_label")
    weights = []
    for data in (of_files, ("data=webdataset", f"data.root={shards}")):
        done = run("train", *data, *SMALL, "trainer.num_workers=1", cwd=tmp_path)
        weights.append(load_file(run_folder(done, tmp_path) / "weights.safetensors"))
    assert weights[0].keys() == weights[1].keys()
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])
    run_argument = f"run={run_folder(done, tmp_path)}"
    evaluated = run("evaluate", run_argument, "split=train", CPU[0], cwd=tmp_path)
    assert "top-1 error" in evaluated.stdout
    assert (
        "train: 6 images (2 shards, set-train-0000.tar to set-train-0001.tar)" in evaluated.stdout
    )


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("imagenet1k-train-0000", "train"),
        ("imagenet1k-validation-00", "val"),
        ("train/000000", "train"),
        ("shards/val/part-1", "val"),
        ("CC3M_test_07", "test"),
        ("000000", None),
    ],
)
def test_names_tell_splits(tmp_path, name, split):
    root = shard_tree(tmp_path / "s", labels=[["0", "1"]])
    write_tar(root / f"{name}.tar", samples(["0", "1"], 50))
    layout = open_shards(root)
    assert layout._shards("train")
    found = {s for s in layout.splits() if any(x.name == f"{name}.tar" for x in layout._shards(s))}
    assert found == ({split} if split else set())
    assert any(f"such as {name}.tar" in note for note in layout.notes()) == (split is None)


@pytest.mark.parametrize(
    ("train", "val", "classes_txt", "classes", "expected"),
    [
        (["cat", "ant"], ["ant"], None, ("ant", "cat"), [(1,), (0,)]),
        (["07", "3"], ["0"], None, tuple("01234567"), [(7,), (3,)]),
        (["1", "0"], ["0"], "bee\nant\n", ("bee", "ant"), [(1,), (0,)]),
        (["cat", "ant"], ["ant"], "cat\nbee\nant\n", ("cat", "bee", "ant"), [(0,), (2,)]),
        (["20", "10"], ["10"], "10\n20\n", ("10", "20"), [(1,), (0,)]),
        (["03", "1"], ["1"], "1\n2\n3\n", ("1", "2", "3"), [(2,), (0,)]),
    ],
)
def test_classes(tmp_path, train, val, classes_txt, classes, expected):
    root = shard_tree(tmp_path / "s", [train], val)
    if classes_txt:
        (root / "classes.txt").write_text(classes_txt)
    layout = open_shards(root)
    assert layout.classes == classes
    assert [image.labels for image in layout.images("train")] == expected
    assert any("Classes:" in note for note in layout.notes()) == (classes_txt is None)


def test_labels_that_are_no_indices_of_classes(tmp_path):
    with pytest.raises(UserError, match=r"the label 3000000000 .* is too large"):
        open_shards(shard_tree(tmp_path / "s", [["1", "3000000000"]])).images("train")
    for label in ("-1", "1.5"):
        with pytest.raises(UserError, match=f"the label {label} .* neither a name nor the index"):
            open_shards(shard_tree(tmp_path / label, [["1", label]])).images("train")
    with pytest.raises(UserError, match=r"the label 9999.* is too large"):
        open_shards(shard_tree(tmp_path / "u", [["1", "9" * 5000]])).images("train")
    (tmp_path / "u/classes.txt").write_text("1\n2\n3\n")
    with pytest.raises(UserError, match=r"the label 9999.* is none of the 3 classes"):
        open_shards(tmp_path / "u").images("train")
    (note,) = open_shards(shard_tree(tmp_path / "t", [["1", "4"]], ["1"])).notes()
    assert "Classes: 0 to 4, the labels of the training images, of which 3 do not occur" in note


def test_several_labels(tmp_path):
    root = shard_tree(tmp_path / "s", [["1", "2 0 2"]])
    layout = open_shards(root, labels="multi_label")
    assert [image.labels for image in layout.images("train")] == [(1,), (2, 0)]
    with pytest.raises(UserError, match=r"000001\.jpg: it has 2 labels.*data\.labels=multi_label"):
        open_shards(root).images("train")


def tar_bytes(tmp_path, members):
    return write_tar(tmp_path / "x.tar", members).read_bytes()


def test_what_is_wrong_in_a_shard_is_named(tmp_path):
    good = [*samples(["0", "1"])]
    whole = tar_bytes(tmp_path, good)
    middle = whole.index(b"000001.jpg")
    cases = {
        r"000001 has no member \.cls beside it \(\.jpg\)": tar_bytes(
            tmp_path, [*good[:3], good[3]]
        ),
        r"000001 has 0 images \(\.cls, \.json\)": tar_bytes(tmp_path, [*good[:3], *good[4:]]),
        r"000000 has 2 images \(\.jpg, \.cls, \.json, \.png\)": tar_bytes(
            tmp_path, [*good[:3], ("000000.png", good[0][1])]
        ),
        "000000 is there twice": tar_bytes(tmp_path, [*good, *good[:3]]),
        r"000000\.cls has no label": tar_bytes(tmp_path, [good[0], ("000000.cls", b" \n")]),
        r"cannot be read \(not UTF-8": tar_bytes(tmp_path, [good[0], ("000000.cls", b"\xff")]),
        "cannot be read": whole[: middle + 700],
        "no mark of its end": whole[:middle],
        "there is no header at byte .* more behind it": (
            whole[:middle] + bytes(1024) + whole[middle + 1024 :]
        ),
        "000000.jpg is there twice": tar_bytes(tmp_path, [good[0], *good]),
        r"a\.b\.jpg: a name may have one dot": tar_bytes(
            tmp_path, [("a.b.jpg", good[0][1]), ("a.b.cls", b"1")]
        ),
        r"000000 has no member .* must follow each other": tar_bytes(
            tmp_path, [good[0], good[3], good[1], good[4]]
        ),
        r"000000\.cls is JSON": tar_bytes(tmp_path, [good[0], ("000000.cls", b'{"a": 1}')]),
        r"there is no header at byte": whole[:middle] + b"x" * 512 + whole[middle + 512 :],
        r"cannot be read \(.*empty": b"",
        r"cannot be read \(.*header": b"not a tar file" * 100,
    }
    for number, (message, data) in enumerate(cases.items()):
        root = shard_tree(tmp_path / f"s{number}")
        (root / "set-train-0001.tar").write_bytes(data)
        with pytest.raises(UserError, match=rf"set-train-0001\.tar: .*{message}"):
            open_shards(root).images("train")


def test_what_is_no_sample_is_left_out(tmp_path):
    root = shard_tree(tmp_path / "s")
    extra = [("README.md", b"x"), ("LICENSE", b"x"), ("a/._7.jpg", b"x"), ("b/7.JPG", jpeg(7))]
    of_sample = [("b/7.seg.png", b"x"), ("b/7.cls", b"1")]
    path = write_tar(root / "set-train-0001.tar", [*extra, *of_sample])
    add_member(path, "c.d", tarfile.DIRTYPE)
    images = open_shards(root).images("train")
    assert [image.id for image in images][3:] == ["set-train-0001.tar/b/7.JPG"]
    assert images[3].path.read_bytes() == jpeg(7)


def add_member(path, name, kind):
    with tarfile.open(path, "a") as tar:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_in_shards_are_refused(tmp_path, kind):
    root = shard_tree(tmp_path / "s")
    add_member(root / "set-train-0001.tar", "b/8.jpg", kind)
    with pytest.raises(UserError, match=r"b/8\.jpg is a link or no plain file"):
        open_shards(root).images("train")


def test_names_in_another_encoding(tmp_path):
    root = shard_tree(tmp_path / "s", [["0", "1"]])
    path = root / "set-train-0000.tar"
    for name in ("café-1", "caf\xe8-1"):  # which UTF-8 has no bytes for
        with tarfile.open(path, "a", format=tarfile.GNU_FORMAT, encoding="latin-1") as tar:
            for extension, content in (("jpg", jpeg(1)), ("cls", b"1")):
                info = tarfile.TarInfo(f"{name}.{extension}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    images = open_shards(root).images("train")
    names = [r"set-train-0000.tar/caf\xe9-1.jpg", r"set-train-0000.tar/caf\xe8-1.jpg"]
    assert [image.id for image in images][2:] == names
    dataset = ClassificationDataset("train", images, crop=CentralCrop(size=8, crop_pct=1))
    assert len(dataset.content_hash()) == 16


def test_a_bad_image_is_named_and_can_be_skipped(tmp_path):
    root = shard_tree(tmp_path / "s", [["0", "1", "0"]])
    members = [*samples(["0", "1", "0"])]
    members[3] = ("000001.jpg", members[3][1][:-200])
    write_tar(root / "set-train-0000.tar", members)
    images = open_shards(root).images("train")
    with pytest.raises(BadFileError, match=r"set-train-0000\.tar: 000001\.jpg: this JPEG is trunc"):
        read_image(images[1].path)
    options = {"crop": CentralCrop(size=8, crop_pct=1), "on_error": "next"}
    batch = ClassificationDataset("train", images, **options).__getitems__([1])
    assert batch["image_id"] == ["set-train-0000.tar/000002.jpg"]
    assert batch["skipped"] == [(f"{root}/set-train-0000.tar: 000001.jpg",)]
    report = run("prepare", "data=webdataset", f"data.root={root}", "check=true", cwd=tmp_path,
                 ok=False)  # fmt: skip
    assert report.returncode == 1
    assert "000001.jpg: this JPEG is truncated" in report.stdout


def count_scans(monkeypatch):
    scanned = []
    original = shard_index.scan_shard

    def scan(shard, label_extension):
        scanned.append(shard.name)
        return original(shard, label_extension)

    monkeypatch.setattr(shard_index, "scan_shard", scan)
    return scanned


def test_only_new_and_changed_shards_are_read(tmp_path, monkeypatch, capsys):
    root = shard_tree(tmp_path / "s", [["0", "1"], ["1"], ["2", "2"]])
    scanned = count_scans(monkeypatch)
    first = open_shards(root).images("train")
    assert "Index: the 5 images of 3 shards are kept in" in capsys.readouterr().out
    before = content(first)
    assert content(open_shards(root).images("train")) == before
    assert len(scanned) == 3
    write_tar(root / "set-train-0003.tar", samples(["cat"], 9))
    more = open_shards(root)._index("train")
    assert scanned[3:] == ["set-train-0003.tar"]
    assert more.words == ["0", "1", "2", "cat"]
    write_tar(root / "set-train-0001.tar", samples(["0", "0", "1"], 20))
    changed = open_shards(root)._index("train")
    assert scanned[4:] == [f"set-train-{i:04}.tar" for i in (1, 2, 3)]
    assert len(changed) == 8
    # who has mapped the arrays before keeps them as they were
    assert [(image.id, image.labels) for image in first] == [(i, labels) for i, _, labels in before]
    (root / "set-train-0003.tar").unlink()
    assert len(open_shards(root)._index("train")) == 7
    assert len(scanned) == 7


def test_an_interrupted_pass_goes_on(tmp_path, monkeypatch, cache):
    root = shard_tree(tmp_path / "s", [["0", "1"], ["1"], ["2", "2"]])
    original = shard_index.scan_shard

    def interrupt(shard, label_extension):
        if shard.name.endswith("2.tar"):
            raise KeyboardInterrupt
        return original(shard, label_extension)

    layout = open_shards(root)
    with monkeypatch.context() as patch:
        patch.setattr(shard_index, "scan_shard", interrupt)
        with pytest.raises(KeyboardInterrupt):
            layout.images("train")
    (folder,) = cache.iterdir()
    with (folder / "labels").open("ab") as file:  # as a kill amid a shard leaves it
        file.write(b"\1\2\3")
    with (folder / "shards.jsonl").open("a") as file:
        file.write('["set-train-0002.t')
    scanned = count_scans(monkeypatch)
    images = open_shards(root).images("train")
    assert scanned == ["set-train-0002.tar"]
    assert [image.labels for image in images] == [(0,), (1,), (1,), (2,), (2,)]
    assert [image.path.read_bytes() for image in images] == [jpeg(i) for i in range(5)]


@pytest.mark.parametrize("damage", ["missing", "short", "json", "binary"])
def test_a_damaged_index_is_made_anew(tmp_path, monkeypatch, cache, damage):
    root = shard_tree(tmp_path / "s")
    before = content(open_shards(root).images("train"))
    (folder,) = (f for f in cache.iterdir())
    if damage == "missing":
        (folder / "offsets").unlink()
    elif damage == "short":
        (folder / "names").write_bytes(b"")
    else:
        (folder / "shards.jsonl").write_bytes(b"[1, 2]\n" if damage == "json" else b"\xff\n")
    assert content(open_shards(root).images("train")) == before


def test_classes_whose_names_are_numbers(tmp_path):
    root = shard_tree(tmp_path / "s", [["0", "1", "2"]], ("1", "2"))
    (root / "classes.txt").write_text("1\n2\n3\n")
    layout = open_shards(root)
    assert [image.labels for image in layout.images("val")] == [(0,), (1,)]
    with pytest.raises(UserError, match="the label 0 is none of the 3 classes"):
        layout.images("train")


def test_a_change_behind_a_link_is_noticed(tmp_path):
    shard_tree(tmp_path / "a", [["0", "1"]])
    root = tmp_path / "links"
    root.mkdir()
    for path in (tmp_path / "a").iterdir():
        (root / path.name).symlink_to(path)
    assert [image.labels for image in open_shards(root).images("train")] == [(0,), (1,)]
    shard_tree(tmp_path / "a", [["1", "0"]])  # of the same size
    assert [image.labels for image in open_shards(root).images("train")] == [(1,), (0,)]


def test_another_process_does_not_map_another_index(tmp_path):
    root = shard_tree(tmp_path / "s", [["0", "1"], ["2"]])
    before = pickle.dumps(open_shards(root).images("train"))
    write_tar(root / "set-train-0000.tar", samples(["1", "1", "0"], 50))
    assert len(open_shards(root).images("train")) == 4
    with pytest.raises(UserError, match="has found other shards since"):
        pickle.loads(before)


def test_the_fingerprint_follows_the_content_and_not_the_place(tmp_path):
    fingerprints = [
        open_shards(shard_tree(tmp_path / name, labels)).fingerprint("train")
        for name, labels in [("a", [["0", "1"]]), ("b", [["0", "1"]]), ("c", [["1", "0"]])]
    ]
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]
    root = shard_tree(tmp_path / "d", [["ant", "bee"]], ["bee"])
    named = set()
    for names in ("ant\nbee\n", "bee\nant\n"):
        (root / "classes.txt").write_text(names)
        named.add(open_shards(root).fingerprint("train"))
    assert len(named) == 2


def test_wrong_settings(tmp_path):
    root = shard_tree(tmp_path / "s")
    empty, packed = tmp_path / "e", tmp_path / "p"
    empty.mkdir()
    packed.mkdir()
    (packed / "train-0.tar.gz").write_bytes(b"x")
    cases = {
        f"data.root={empty}: no .tar files found": [f"data.root={empty}"],
        f"data.root={tmp_path}/none: there is no such folder": [f"data.root={tmp_path}/none"],
        f"data.root={packed}: train-0.tar.gz is compressed. Unpack": [f"data.root={packed}"],
        "data.val_split=test: no tar file is of this split": [
            f"data.root={root}", "data.val_split=test",
        ],
        "has no member .txt beside it (.jpg, .cls, .json)": [
            f"data.root={root}", "data.label_extension=txt",
        ],
        "data.root=nowhere://x: this folder cannot be listed (Protocol not known": [
            "data.root=nowhere://x",
        ],
    }  # fmt: skip
    for message, arguments in cases.items():
        done = run("train", "data=webdataset", *arguments, *SMALL, cwd=tmp_path, ok=False)
        assert message in done.stderr, done.stderr
        assert "Traceback" not in done.stderr


def test_a_label_that_is_no_class_is_named(tmp_path):
    layout = open_shards(shard_tree(tmp_path / "s", val=("1", "7")))
    message = r"set-validation-00\.tar: 001001\.jpg: the label 7 is none of the 3 classes"
    with pytest.raises(UserError, match=message):
        layout.images("val")


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    root = shard_tree(tmp_path / "s")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"cannot be kept here .* XDG_CACHE_HOME"):
        open_shards(root).images("train")


def test_s3_needs_its_package(tmp_path):
    arguments = ("data=webdataset", "data.root=s3://bucket/a", *SMALL)
    done = run("train", *arguments, cwd=tmp_path, ok=False, without=["s3fs"])
    assert "data.root=s3://bucket/a: s3fs is not installed" in done.stderr


class CountedFile(AbstractBufferedFile):
    """File of a storage without asynchronous requests, as that of the Hugging Face hub."""

    def _fetch_range(self, start, end):
        self.fs.ranges.append((start, end))
        return self.fs.content[start:end]


class CountedSystem(AbstractFileSystem):
    protocol = "counted"
    content, ranges = bytes(1 << 20), []

    def info(self, path, **_):
        return {"name": path, "size": len(self.content), "type": "file"}

    def _open(self, path, mode="rb", **options):
        return CountedFile(self, path, mode, size=len(self.content), **options)


def test_an_image_in_a_cloud_is_read_and_nothing_more():
    fsspec.register_implementation("counted", CountedSystem, clobber=True)
    file = PackedFile("counted://a/train-0.tar", "7.jpg", 512, 700)
    assert file.read_bytes() == bytes(700)
    assert CountedSystem.ranges == [(512, 1212)]


@pytest.mark.extras
def test_shards_in_a_cloud(tmp_path):
    pytest.importorskip("s3fs")
    root = shard_tree(tmp_path / "buckets/bucket/a", [["0", "1", "2"], ["2", "0"]])
    (root / "classes.txt").write_text("ant\nbee\ncat\n")
    arguments = ("data=webdataset", "data.root=s3://bucket/a", *SMALL, "trainer.num_workers=1")
    with serving(tmp_path / "buckets") as (variables, requests):
        done = run("train", *arguments, cwd=tmp_path, variables=variables)
        run_argument = f"run={run_folder(done, tmp_path)}"
        num_requests = len(requests)
        evaluated = run("evaluate", run_argument, CPU[0], cwd=tmp_path, variables=variables)
        missing = ("data.root=s3://bucket/none", *arguments[2:])
        empty = run("train", arguments[0], *missing, cwd=tmp_path, variables=variables, ok=False)
    assert "train: 5 images (2 shards, set-train-0000.tar to set-train-0001.tar)" in done.stdout
    assert "credentials" not in done.stdout + done.stderr
    assert "top-1 error" in evaluated.stdout
    parts = [part for _, key, part in requests[num_requests:] if key.endswith(".tar") and part]
    index = open_shards(root)._index("val")
    ends = index.offsets + index.sizes - 1
    assert set(parts) == {f"bytes={a}-{b}" for a, b in zip(index.offsets, ends, strict=True)}
    assert "data.root=s3://bucket/none: no .tar files found" in empty.stderr
    # the same run, wherever the shards are
    local = run("train", arguments[0], f"data.root={root}", *SMALL, cwd=tmp_path)
    assert run_folder(done, tmp_path).name in local.stdout
    assert "overwrite=true trains it again" in local.stdout
