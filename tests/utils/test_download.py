import hashlib
import io
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from deeplab.config.paths import ROOT
from deeplab.preparation.manifest import remove_drafts
from deeplab.utils import disk_space
from deeplab.utils import download as download_module
from deeplab.utils.archives import unpack
from deeplab.utils.download import Archive
from deeplab.utils.errors import UserError
from support.scripts import environment
from support.servers import Response, serving

BODY = random.Random(0).randbytes(1_000_000)
OTHER = random.Random(1).randbytes(1_000_000)


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch):
    monkeypatch.setattr(download_module, "RETRY_DELAY", 0.001)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def archive(url: str, body: bytes = BODY, *, algorithm="sha256", size=None) -> Archive:
    return Archive("a.bin", url, f"{algorithm}:{hashlib.new(algorithm, body).hexdigest()}", size)


def download(site, folder, **keywords):
    return download_module.fetch(archive(site.url), folder, progress=False, retries=2, **keywords)


def child(code: str, *arguments) -> subprocess.Popen:
    """Another Python process with the package."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment() | {"PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        text=True,
    )


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def kill(process: subprocess.Popen):
    process.send_signal(signal.SIGKILL)
    process.communicate()


FETCH = """
import sys
from pathlib import Path
from deeplab.utils.errors import UserError
from deeplab.preparation.fetch import Archive, fetch
url, checksum, folder = sys.argv[1:4]
if len(sys.argv) > 4:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]),) * 2)
try:
    fetch(Archive("a.bin", url, checksum), Path(folder), progress=False)
except UserError as error:
    print(error)
"""


# Downloading


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
@pytest.mark.parametrize("size", [None, len(BODY), 7])
def test_a_download(tmp_path, algorithm, size):
    with serving(BODY) as site:
        wanted = archive(site.url, algorithm=algorithm, size=size)
        path = download_module.fetch(wanted, tmp_path / "new" / "folder", progress=False)
        assert path == tmp_path / "new" / "folder" / "a.bin"
        assert path.read_bytes() == BODY
        assert names(path.parent) == ["a.bin"]
        assert download_module.fetch(wanted, path.parent, progress=False) == path
        assert site.requested_ranges == [None]


def test_a_file_that_is_there_needs_no_server(tmp_path):
    (tmp_path / "a.bin").write_bytes(BODY)
    download_module.fetch(archive("http://127.0.0.1:1/"), tmp_path, progress=False, retries=0)


def test_a_file_with_a_wrong_checksum_is_not_used(tmp_path):
    (tmp_path / "a.bin").write_bytes(OTHER)
    with serving(BODY) as site:
        assert download(site, tmp_path).read_bytes() == BODY


def test_several_at_once(tmp_path):
    with serving(BODY, Response(pause=0.002)) as site, ThreadPoolExecutor(4) as pool:
        folders = [tmp_path / str(i) for i in range(4)]
        paths = list(pool.map(lambda folder: download(site, folder), folders))
    assert all(path.read_bytes() == BODY for path in paths)


def test_an_empty_file(tmp_path):
    with serving(b"") as site:
        assert (
            download_module.fetch(archive(site.url, b""), tmp_path, progress=False).read_bytes()
            == b""
        )


@pytest.mark.parametrize("announce", [True, False])
def test_a_compressed_file_is_not_decompressed_on_the_way(tmp_path, announce):
    body = tar({"a": b"a"}, "gz")
    with serving(body, Response(encoding="gzip", announce=announce)) as site:
        path = download_module.fetch(archive(site.url, body), tmp_path, progress=False)
    assert path.read_bytes() == body


def test_the_bar_counts_what_is_there(tmp_path, capsys):
    (tmp_path / "a.bin.part").write_bytes(BODY[:500_000])
    with serving(BODY, Response(status=500), Response()) as site:
        download_module.fetch(archive(site.url), tmp_path)
    shown = capsys.readouterr().err
    assert "a.bin:" in shown
    assert "500k" in shown
    assert "trying again" in shown
    assert "100%" in shown
    assert "1.00M/1.00M" in shown


# Continuing


def test_a_cut_connection_is_continued(tmp_path):
    with serving(BODY, Response(cut=300_000), Response(cut=200_000), Response()) as site:
        assert download(site, tmp_path).read_bytes() == BODY
        assert site.requested_ranges == [None, "bytes=300000-", "bytes=500000-"]


def test_only_attempts_that_bring_nothing_are_counted(tmp_path):
    with serving(BODY, Response(cut=70_000)) as site:
        assert download(site, tmp_path).read_bytes() == BODY
        assert len(site.requested_ranges) == 15


def test_no_end_of_trying_is_an_error_and_keeps_the_part(tmp_path):
    with serving(BODY, Response(cut=300_000), Response(cut=0)) as site:
        with pytest.raises(UserError, match=r"connection was cut.*a\.bin\.part holds 300kB"):
            download(site, tmp_path)
        assert len(site.requested_ranges) == 4
        site.plan = [Response()]
        assert download(site, tmp_path).read_bytes() == BODY
        assert site.requested_ranges[-1] == "bytes=300000-"


def test_a_server_without_ranges_starts_anew(tmp_path):
    with serving(BODY, Response(cut=300_000), Response(ranges=False)) as site:
        assert download(site, tmp_path).read_bytes() == BODY
        assert site.requested_ranges == [None, "bytes=300000-"]


def test_a_server_without_ranges_that_always_cuts_comes_to_an_end(tmp_path):
    with serving(BODY, *[Response(ranges=False, cut=n) for n in (500, 300, 400)]) as site:
        with pytest.raises(UserError, match="connection was cut"):
            download(site, tmp_path)
        assert len(site.requested_ranges) == 4


def test_a_range_that_was_not_asked_for_is_not_joined(tmp_path):
    with serving(BODY, Response(cut=300_000), Response(shift=-5), Response()) as site:
        assert download(site, tmp_path).read_bytes() == BODY
        assert site.requested_ranges == [None, "bytes=300000-", None]


def test_a_whole_part_is_only_checked(tmp_path):
    (tmp_path / "a.bin.part").write_bytes(BODY)
    with serving(BODY) as site:
        assert download(site, tmp_path).read_bytes() == BODY
        assert site.requested_ranges == ["bytes=1000000-"]


@pytest.mark.parametrize("size", [400_000, 1_000_000, 1_200_000])
def test_a_part_of_another_version_is_dropped(tmp_path, size):
    (tmp_path / "a.bin.part").write_bytes((OTHER * 2)[:size])
    with serving(BODY) as site:
        assert download(site, tmp_path).read_bytes() == BODY
        assert site.requested_ranges == [f"bytes={size}-", None]
    assert names(tmp_path) == ["a.bin"]


def test_a_killed_download_is_continued(tmp_path):
    part = tmp_path / "a.bin.part"
    with serving(BODY, Response(pause=0.02), Response()) as site:
        process = child(FETCH, site.url, archive(site.url).checksum, tmp_path)
        wait_for(lambda: part.exists() and part.stat().st_size > 100_000)
        kill(process)
        size = part.stat().st_size
        assert BODY.startswith(part.read_bytes())
        assert size < len(BODY)
        assert not (tmp_path / "a.bin").exists()
        assert download(site, tmp_path).read_bytes() == BODY
        assert site.requested_ranges == [None, f"bytes={size}-"]
    assert names(tmp_path) == ["a.bin"]


def test_an_interrupted_download_keeps_the_part(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(download_module, "_checksum", interrupt)
    with serving(BODY) as site, pytest.raises(KeyboardInterrupt):
        download(site, tmp_path)
    assert (tmp_path / "a.bin.part").read_bytes() == BODY


# Servers that do not serve


def test_a_wrong_checksum(tmp_path):
    with serving(OTHER) as site:
        with pytest.raises(UserError) as caught:
            download(site, tmp_path)
        assert site.requested_ranges == [None]
    message = str(caught.value)
    for word in ("a.bin", archive("", BODY).checksum, archive("", OTHER).checksum, "login page"):
        assert word in message
    assert names(tmp_path) == []


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_is_not_asked_again(tmp_path, status):
    with serving(BODY, Response(status=status)) as site:
        with pytest.raises(UserError, match=rf"answers {status} .*by other means"):
            download(site, tmp_path)
        assert len(site.requested_ranges) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_server_in_trouble_is_asked_again(tmp_path, status):
    with serving(BODY, Response(status=status), Response()) as site:
        assert download(site, tmp_path).read_bytes() == BODY
    with serving(BODY, Response(status=status)) as site:
        with pytest.raises(UserError, match=rf"answers {status} .*run this again"):
            download(site, tmp_path / "other")
        assert len(site.requested_ranges) == 3


def test_no_server(tmp_path):
    with serving(BODY) as site:
        pass
    with pytest.raises(UserError, match="Connection refused, also when tried again"):
        download(site, tmp_path)


def test_a_server_that_goes_silent(tmp_path, monkeypatch):
    monkeypatch.setattr(download_module, "TIMEOUT", 0.2)
    with serving(BODY, Response(pause=1.0, piece=200_000), Response()) as site:
        assert download(site, tmp_path).read_bytes() == BODY
        assert site.requested_ranges[1] is not None
    silent = serving(BODY, Response(pause=1.0, piece=1))
    with silent as site, pytest.raises(UserError, match=r"no answer for 0\.2 seconds"):
        download_module.fetch(archive(site.url), tmp_path / "other", progress=False, retries=0)


def test_no_address(tmp_path):
    with pytest.raises(UserError, match=r"ttp://a: this cannot be downloaded"):
        download_module.fetch(archive("ttp://a"), tmp_path, progress=False)


# Disks


def test_too_little_space_is_seen_before(tmp_path, monkeypatch):
    usage = type(disk_space.shutil.disk_usage(tmp_path))(10**7, 10**7 - 10**5, 10**5)
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda _: usage)
    message = r"1\.00MB more are needed.*100kB are free"
    for size, announce in ((None, True), (len(BODY), False)):
        served = serving(BODY, Response(announce=announce))
        with served as site, pytest.raises(UserError, match=message):
            download_module.fetch(archive(site.url, size=size), tmp_path, progress=False)
    (tmp_path / "a.bin.part").write_bytes(BODY[:-90_000])
    with serving(BODY) as site:
        assert download(site, tmp_path).read_bytes() == BODY


def test_a_full_disk_keeps_the_part(tmp_path):
    with serving(BODY) as site:
        process = child(FETCH, site.url, archive(site.url).checksum, tmp_path, 200_000)
        message = process.communicate()[0]
        assert str(tmp_path) in message
        assert "File too large" in message
        assert "kB more are needed" in message
        assert "are free" in message
        assert BODY.startswith((tmp_path / "a.bin.part").read_bytes())
        assert download(site, tmp_path).read_bytes() == BODY
        assert site.requested_ranges[-1] != site.requested_ranges[0]


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").touch()
    with serving(BODY) as site:
        with pytest.raises(UserError, match=r"file.*cannot be written"):
            download(site, tmp_path / "file")
        with pytest.raises(UserError, match=r"file.*cannot be written"):
            download(site, tmp_path / "file" / "below")
        assert not site.requested_ranges


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_read_only(tmp_path):
    tmp_path.chmod(0o500)
    with serving(BODY) as site, pytest.raises(UserError, match="cannot be written"):
        download(site, tmp_path)


# Unpacking


FILES = {f"set/images/{i:03}.jpg": bytes([i]) * (1000 + i) for i in range(20)} | {
    "set/list.txt": b"all\n",
    "read me": b"",
}


def tar(files: dict[str, bytes], compression: str = "", prefix: str = "") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{compression}") as opened:
        folder = tarfile.TarInfo(f"{prefix}set")
        folder.type = tarfile.DIRTYPE
        opened.addfile(folder)
        for name, content in files.items():
            info = tarfile.TarInfo(prefix + name)
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))
    return out.getvalue()


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as opened:
        opened.writestr("set/", b"")
        for name, content in files.items():
            opened.writestr(name, content)
    return out.getvalue()


KINDS = {
    "tar": tar(FILES),
    "tar with ./": tar(FILES, prefix="./"),
    "tgz": tar(FILES, "gz"),
    "zip": zipped(FILES),
    "deflated zip": zipped(FILES, zipfile.ZIP_DEFLATED),
}


def tree(folder):
    """Every file below a folder, with its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def wait_for(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture
def packed(tmp_path):
    """Write an archive under a name that says nothing of its type."""

    def write(content: bytes):
        path = tmp_path / "archive"
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize("kind", KINDS)
def test_unpacking(tmp_path, packed, kind):
    target = tmp_path / "to"
    path = packed(KINDS[kind])
    assert unpack(path, target, progress=False) == list(FILES)
    assert tree(target) == FILES
    times = {path: path.stat().st_mtime_ns for path in target.rglob("*")}
    assert unpack(path, target, progress=False) == list(FILES)
    assert {path: path.stat().st_mtime_ns for path in target.rglob("*")} == times


@pytest.mark.parametrize("kind", KINDS)
def test_a_selection_under_other_names(tmp_path, packed, kind):
    def select(name):
        return f"JPEGImages/{name[11:]}" if name.startswith("set/images/00") else None

    unpack(packed(KINDS[kind]), tmp_path / "to", select=select, progress=False)
    assert tree(tmp_path / "to") == {
        f"JPEGImages/00{i}.jpg": FILES[f"set/images/00{i}.jpg"] for i in range(10)
    }


@pytest.mark.parametrize("kind", KINDS)
def test_the_bar_of_unpacking_comes_to_its_end(tmp_path, packed, kind, capsys):
    unpack(packed(KINDS[kind]), tmp_path / "to")
    shown = capsys.readouterr().err
    assert "archive:" in shown
    assert "100%" in shown


def test_a_file_of_another_size_is_replaced(tmp_path, packed):
    target = tmp_path / "to"
    (target / "set").mkdir(parents=True)
    (target / "set" / "list.txt").write_bytes(b"a")
    (target / "own.txt").write_bytes(b"own")
    unpack(packed(KINDS["zip"]), target, progress=False)
    assert tree(target) == FILES | {"own.txt": b"own"}


def link(name: str, kind: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as opened:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "/etc"
        opened.addfile(info)
    return out.getvalue()


def zip_link() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as opened:
        info = zipfile.ZipInfo("bad")
        info.external_attr = 0o120777 << 16
        opened.writestr(info, "/etc")
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (tar({"/tmp/bad": b"a"}), "outside"),
        (tar({"../bad": b"a"}), "outside"),
        (tar({"a/../../bad": b"a"}), "outside"),
        (tar({".": b"bad"}), "outside"),
        (zipped({"/bad": b"a"}), "outside"),
        (zipped({"a/../../bad": b"a"}), "outside"),
        (link("bad", tarfile.SYMTYPE), "link or a device"),
        (link("bad", tarfile.LNKTYPE), "link or a device"),
        (link("bad", tarfile.CHRTYPE), "link or a device"),
        (link("bad", tarfile.FIFOTYPE), "link or a device"),
        (zip_link(), "link or a device"),
    ],
)
def test_evil_members(tmp_path, packed, content, reason):
    path = packed(content)
    with pytest.raises(UserError, match=f"member '.*(bad|[.])'.*{reason}"):
        unpack(path, tmp_path / "to", progress=False)
    assert set(tree(tmp_path)) == {"archive"}
    assert unpack(path, tmp_path / "to", select=lambda _: None, progress=False) == []


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_cut_anywhere(tmp_path, packed, kind):
    whole = KINDS[kind]
    # the end of a tar is padded with zeros that nobody misses; the first of them are its end
    end = len(whole.rstrip(b"\0")) if kind.startswith("tar") else len(whole)
    sizes = {0, 1, 300, 512, 1024, 1100, 1536, end // 3, end // 2 // 512 * 512, end - 1}
    for size in sorted(s for s in sizes if s < end):
        with pytest.raises(UserError, match=r"archive: this archive is damaged.*Get a whole one"):
            unpack(packed(whole[:size]), tmp_path / "to", progress=False)
        assert tree(tmp_path / "to").items() <= FILES.items()


@pytest.mark.parametrize("kind", KINDS)
def test_damage_never_ends_in_another_error(tmp_path, packed, kind):
    chance = random.Random(0)
    for _ in range(60):
        content = bytearray(KINDS[kind])
        for _ in range(chance.choice((1, 30))):
            content[chance.randrange(len(content))] = chance.randrange(256)
        with suppress(UserError):
            unpack(packed(bytes(content)), tmp_path / "to", progress=False)


@pytest.mark.parametrize(
    "content",
    [
        KINDS["zip"].replace(b"\5" * 1000, b"\5" * 999 + b"\0", 1),
        KINDS["tgz"][:-8] + bytes(4) + KINDS["tgz"][-4:],
        b"<html>Please log in</html>" * 100,
    ],
    ids=["zip", "gzip", "neither"],
)
def test_wrong_content(tmp_path, packed, content):
    with pytest.raises(UserError, match="this archive is damaged or is neither"):
        unpack(packed(content), tmp_path / "to", progress=False)
    assert tree(tmp_path / "to").items() <= FILES.items()


def test_no_archive(tmp_path):
    with pytest.raises(UserError, match="none: this cannot be read"):
        unpack(tmp_path / "none", tmp_path / "to", progress=False)


SLOW = """
import sys, time, zipfile
from pathlib import Path
from deeplab.utils import archives

reads = 0

def slow_read(self, size, read=zipfile.ZipExtFile.read):
    global reads
    reads += 1
    if reads == int(sys.argv[3]):
        print("stuck", flush=True)
        time.sleep(60)
    return read(self, size)

zipfile.ZipExtFile.read = slow_read
archives.BLOCK = 20_000
archives.unpack(Path(sys.argv[1]), Path(sys.argv[2]), progress=False)
"""


def test_killed_while_unpacking(tmp_path, packed):
    files = {f"images/{i}.jpg": bytes([i]) * 100_000 for i in range(8)}
    target = tmp_path / "to"
    path = packed(zipped(files))
    for reads in (3, 15):
        process = child(SLOW, path, target, reads)
        assert process.stdout.readline() == "stuck\n"
        kill(process)
        found = tree(target)
        drafts = {name for name in found if name.startswith("images/.")}
        assert len(drafts) == 1
        assert {name: found[name] for name in found.keys() - drafts}.items() <= files.items()
        remove_drafts(target)
        assert tree(target).keys() == found.keys() - drafts
    assert len(found) > 1
    unpack(path, target, progress=False)
    assert tree(target) == files


FULL = """
import resource, sys
from pathlib import Path
from deeplab.utils.errors import UserError
from deeplab.preparation.unpack import unpack
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    unpack(Path(sys.argv[1]), Path(sys.argv[2]), progress=False)
except UserError as error:
    print(error)
"""


def test_a_full_disk_while_unpacking(tmp_path, packed):
    target = tmp_path / "to"
    path = packed(zipped({"a": b"a" * 40_000, "b": b"b" * 60_000, "c": b"c"}))
    message = child(FULL, path, target).communicate()[0]
    assert str(target) in message
    assert "File too large" in message
    assert "60.3kB more are needed" in message
    assert "run this again" in message
    assert set(tree(target)) == {"a"}


def test_a_target_that_cannot_be(tmp_path, packed):
    path = packed(KINDS["zip"])
    with pytest.raises(UserError, match=r"archive.*cannot be written"):
        unpack(path, path, progress=False)
