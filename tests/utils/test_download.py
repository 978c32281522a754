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
from contextlib import nullcontext, suppress

import pytest

from deeplab.preparation.manifest import remove_temporary_files
from deeplab.utils import archives, disk_space, progress
from deeplab.utils import download as download_module
from deeplab.utils.archives import unpack
from deeplab.utils.download import Archive
from deeplab.utils.errors import UserError
from support.repository import ROOT
from support.scripts import environment
from support.servers import Response, serving

BODY = random.Random(0).randbytes(1_000_000)
OTHER_BODY = random.Random(1).randbytes(1_000_000)


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch):
    monkeypatch.setattr(download_module, "RETRY_DELAY", 0.001)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def archive(url: str, body: bytes = BODY, *, algorithm="sha256", size=None) -> Archive:
    return Archive("a.bin", url, f"{algorithm}:{hashlib.new(algorithm, body).hexdigest()}", size)


def download(server, folder, **keywords):
    return download_module.fetch(archive(server.url), folder, progress=False, retries=2, **keywords)


def start_python(code: str, *arguments) -> subprocess.Popen:
    """Start another Python process that can import the package."""
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


FETCH_SCRIPT = """
import sys
from pathlib import Path
from deeplab.utils.errors import UserError
from deeplab.utils.download import Archive, fetch
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
def test_download(tmp_path, algorithm, size):
    with serving(BODY) as server:
        published = archive(server.url, algorithm=algorithm, size=size)
        path = download_module.fetch(published, tmp_path / "new" / "folder", progress=False)
        assert path == tmp_path / "new" / "folder" / "a.bin"
        assert path.read_bytes() == BODY
        assert names(path.parent) == ["a.bin"]
        assert download_module.fetch(published, path.parent, progress=False) == path
        assert server.requested_ranges == [None]


def test_existing_file_needs_no_server(tmp_path):
    (tmp_path / "a.bin").write_bytes(BODY)
    download_module.fetch(archive("http://127.0.0.1:1/"), tmp_path, progress=False, retries=0)


def test_existing_file_with_a_wrong_checksum_is_replaced(tmp_path):
    (tmp_path / "a.bin").write_bytes(OTHER_BODY)
    with serving(BODY) as server:
        assert download(server, tmp_path).read_bytes() == BODY


def test_concurrent_downloads(tmp_path):
    with serving(BODY, Response(pause=0.002)) as server, ThreadPoolExecutor(4) as pool:
        folders = [tmp_path / str(i) for i in range(4)]
        paths = list(pool.map(lambda folder: download(server, folder), folders))
    assert all(path.read_bytes() == BODY for path in paths)


def test_empty_file(tmp_path):
    with serving(b"") as server:
        assert (
            download_module.fetch(archive(server.url, b""), tmp_path, progress=False).read_bytes()
            == b""
        )


@pytest.mark.parametrize("send_length", [True, False])
def test_compressed_file_is_not_decompressed(tmp_path, send_length):
    body = tar({"a": b"a"}, "gz")
    with serving(body, Response(encoding="gzip", send_length=send_length)) as server:
        path = download_module.fetch(archive(server.url, body), tmp_path, progress=False)
    assert path.read_bytes() == body


@pytest.fixture
def in_terminal(monkeypatch):
    """Show bars although standard error is no terminal."""
    monkeypatch.setattr(progress, "can_show_bars", lambda stream: True)


@pytest.mark.usefixtures("in_terminal")
def test_progress_bar_starts_at_the_existing_part(tmp_path, capsys):
    (tmp_path / "a.bin.part").write_bytes(BODY[:500_000])
    with serving(BODY, Response(status=500), Response()) as server:
        download_module.fetch(archive(server.url), tmp_path)
    shown = capsys.readouterr().err
    assert "a.bin:" in shown
    assert "500k" in shown
    assert "trying again" in shown
    assert "100%" in shown
    assert "1.00M/1.00M" in shown


# Resuming


def test_cut_connection_is_resumed(tmp_path):
    with serving(BODY, Response(cut=300_000), Response(cut=200_000), Response()) as server:
        assert download(server, tmp_path).read_bytes() == BODY
        assert server.requested_ranges == [None, "bytes=300000-", "bytes=500000-"]


def test_only_attempts_without_new_data_are_counted(tmp_path):
    with serving(BODY, Response(cut=70_000)) as server:
        assert download(server, tmp_path).read_bytes() == BODY
        assert len(server.requested_ranges) == 15


def test_too_many_failures_are_an_error_and_keep_the_part(tmp_path):
    with serving(BODY, Response(cut=300_000), Response(cut=0)) as server:
        with pytest.raises(UserError, match=r"connection was cut.*a\.bin\.part holds 300 kB"):
            download(server, tmp_path)
        assert len(server.requested_ranges) == 4
        server.plan = [Response()]
        assert download(server, tmp_path).read_bytes() == BODY
        assert server.requested_ranges[-1] == "bytes=300000-"


def test_server_without_ranges_restarts_the_download(tmp_path):
    with serving(BODY, Response(cut=300_000), Response(ranges=False)) as server:
        assert download(server, tmp_path).read_bytes() == BODY
        assert server.requested_ranges == [None, "bytes=300000-"]


def test_server_without_ranges_that_always_cuts_is_an_error(tmp_path):
    with serving(BODY, *[Response(ranges=False, cut=n) for n in (500, 300, 400)]) as server:
        with pytest.raises(UserError, match="connection was cut"):
            download(server, tmp_path)
        assert len(server.requested_ranges) == 4


def test_wrong_range_is_not_appended(tmp_path):
    with serving(BODY, Response(cut=300_000), Response(shift=-5), Response()) as server:
        assert download(server, tmp_path).read_bytes() == BODY
        assert server.requested_ranges == [None, "bytes=300000-", None]


def test_complete_part_is_only_checked(tmp_path):
    (tmp_path / "a.bin.part").write_bytes(BODY)
    with serving(BODY) as server:
        assert download(server, tmp_path).read_bytes() == BODY
        assert server.requested_ranges == ["bytes=1000000-"]


@pytest.mark.parametrize("size", [400_000, 1_000_000, 1_200_000])
def test_part_of_another_version_is_dropped(tmp_path, size):
    (tmp_path / "a.bin.part").write_bytes((OTHER_BODY * 2)[:size])
    with serving(BODY) as server:
        assert download(server, tmp_path).read_bytes() == BODY
        assert server.requested_ranges == [f"bytes={size}-", None]
    assert names(tmp_path) == ["a.bin"]


def test_killed_download_is_resumed(tmp_path):
    part = tmp_path / "a.bin.part"
    with serving(BODY, Response(pause=0.02), Response()) as server:
        process = start_python(FETCH_SCRIPT, server.url, archive(server.url).checksum, tmp_path)
        wait_for(lambda: part.exists() and part.stat().st_size > 100_000)
        kill(process)
        size = part.stat().st_size
        assert BODY.startswith(part.read_bytes())
        assert size < len(BODY)
        assert not (tmp_path / "a.bin").exists()
        assert download(server, tmp_path).read_bytes() == BODY
        assert server.requested_ranges == [None, f"bytes={size}-"]
    assert names(tmp_path) == ["a.bin"]


def test_interrupted_download_keeps_the_part(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(download_module, "_checksum", interrupt)
    with serving(BODY) as server, pytest.raises(KeyboardInterrupt):
        download(server, tmp_path)
    assert (tmp_path / "a.bin.part").read_bytes() == BODY


# Server errors


def test_wrong_checksum(tmp_path):
    with serving(OTHER_BODY) as server:
        with pytest.raises(UserError) as caught:
            download(server, tmp_path)
        assert server.requested_ranges == [None]
    message = str(caught.value)
    for word in (
        "a.bin",
        archive("", BODY).checksum,
        archive("", OTHER_BODY).checksum,
        "login page",
    ):
        assert word in message
    assert names(tmp_path) == []


@pytest.mark.parametrize("status", [401, 403, 404])
def test_client_error_is_not_retried(tmp_path, status):
    with serving(BODY, Response(status=status)) as server:
        with pytest.raises(UserError, match=rf"answers {status} .*by other means"):
            download(server, tmp_path)
        assert len(server.requested_ranges) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_server_error_is_retried(tmp_path, status):
    with serving(BODY, Response(status=status), Response()) as server:
        assert download(server, tmp_path).read_bytes() == BODY
    with serving(BODY, Response(status=status)) as server:
        with pytest.raises(UserError, match=rf"answers {status} .*run this again"):
            download(server, tmp_path / "other")
        assert len(server.requested_ranges) == 3


def test_unreachable_server(tmp_path):
    with serving(BODY) as server:
        pass
    with pytest.raises(UserError, match="Connection refused, also after several attempts"):
        download(server, tmp_path)


def test_server_that_stops_responding(tmp_path, monkeypatch):
    monkeypatch.setattr(download_module, "TIMEOUT", 0.2)
    with serving(BODY, Response(pause=1.0, piece=200_000), Response()) as server:
        assert download(server, tmp_path).read_bytes() == BODY
        assert server.requested_ranges[1] is not None
    silent = serving(BODY, Response(pause=1.0, piece=1))
    with silent as server, pytest.raises(UserError, match=r"no response for 0\.2 seconds"):
        download_module.fetch(archive(server.url), tmp_path / "other", progress=False, retries=0)


def test_invalid_url(tmp_path):
    with pytest.raises(UserError, match=r"ttp://a: cannot be downloaded"):
        download_module.fetch(archive("ttp://a"), tmp_path, progress=False)


# Disk space


def test_too_little_space_is_an_error_before_the_transfer(tmp_path, monkeypatch):
    usage = type(disk_space.shutil.disk_usage(tmp_path))(10**7, 10**7 - 10**5, 10**5)
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda _: usage)
    message = r"1\.00 MB more needed, 100 kB free"
    for size, send_length in ((None, True), (len(BODY), False)):
        served = serving(BODY, Response(send_length=send_length))
        with served as server, pytest.raises(UserError, match=message):
            download_module.fetch(archive(server.url, size=size), tmp_path, progress=False)
    (tmp_path / "a.bin.part").write_bytes(BODY[:-90_000])
    with serving(BODY) as server:
        assert download(server, tmp_path).read_bytes() == BODY


def test_full_disk_keeps_the_part(tmp_path):
    with serving(BODY) as server:
        process = start_python(
            FETCH_SCRIPT, server.url, archive(server.url).checksum, tmp_path, 200_000
        )
        message = process.communicate()[0]
        assert str(tmp_path) in message
        assert "File too large" in message
        assert "kB more needed" in message
        assert " free" in message
        assert BODY.startswith((tmp_path / "a.bin.part").read_bytes())
        assert download(server, tmp_path).read_bytes() == BODY
        assert server.requested_ranges[-1] != server.requested_ranges[0]


def test_folder_that_cannot_be_created(tmp_path):
    (tmp_path / "file").touch()
    with serving(BODY) as server:
        with pytest.raises(UserError, match=r"file.*cannot be written"):
            download(server, tmp_path / "file")
        with pytest.raises(UserError, match=r"file.*cannot be written"):
            download(server, tmp_path / "file" / "below")
        assert not server.requested_ranges


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    with serving(BODY) as server, pytest.raises(UserError, match="cannot be written"):
        download(server, tmp_path)


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


ARCHIVES = {
    "tar": tar(FILES),
    "tar with ./": tar(FILES, prefix="./"),
    "tgz": tar(FILES, "gz"),
    "zip": zipped(FILES),
    "deflated zip": zipped(FILES, zipfile.ZIP_DEFLATED),
}


def tree(folder):
    """Return the content of every file below a folder, by relative path."""
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
def write_archive(tmp_path):
    """Return a function that writes an archive under a name without its type."""

    def write(content: bytes):
        path = tmp_path / "archive"
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize("kind", ARCHIVES)
def test_unpacking(tmp_path, write_archive, kind):
    target = tmp_path / "to"
    path = write_archive(ARCHIVES[kind])
    assert unpack(path, target, progress=False) == list(FILES)
    assert tree(target) == FILES
    times = {path: path.stat().st_mtime_ns for path in target.rglob("*")}
    assert unpack(path, target, progress=False) == list(FILES)
    assert {path: path.stat().st_mtime_ns for path in target.rglob("*")} == times


@pytest.mark.parametrize("kind", ARCHIVES)
def test_select_can_rename_and_skip_files(tmp_path, write_archive, kind):
    def select(name):
        return f"JPEGImages/{name[11:]}" if name.startswith("set/images/00") else None

    unpack(write_archive(ARCHIVES[kind]), tmp_path / "to", select=select, progress=False)
    assert tree(tmp_path / "to") == {
        f"JPEGImages/00{i}.jpg": FILES[f"set/images/00{i}.jpg"] for i in range(10)
    }


@pytest.mark.usefixtures("in_terminal")
@pytest.mark.parametrize("kind", ARCHIVES)
def test_progress_bar_of_unpacking_reaches_the_end(tmp_path, write_archive, kind, capsys):
    unpack(write_archive(ARCHIVES[kind]), tmp_path / "to")
    shown = capsys.readouterr().err
    assert "archive:" in shown
    assert "100%" in shown


def test_file_of_another_size_is_replaced(tmp_path, write_archive):
    target = tmp_path / "to"
    (target / "set").mkdir(parents=True)
    (target / "set" / "list.txt").write_bytes(b"a")
    (target / "own.txt").write_bytes(b"own")
    unpack(write_archive(ARCHIVES["zip"]), target, progress=False)
    assert tree(target) == FILES | {"own.txt": b"own"}


def link_tar(name: str, kind: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as opened:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "/etc"
        opened.addfile(info)
    return out.getvalue()


def zip_of_mode(mode: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as opened:
        info = zipfile.ZipInfo("bad")
        info.external_attr = mode << 16
        opened.writestr(info, "/etc")
    return out.getvalue()


def tar_header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


def patched(content: bytes, *edits: tuple[bytes, int, bytes]) -> bytes:
    """Return an archive with other bytes at an offset from each place of a signature."""
    for signature, offset, value in edits:
        first, *parts = content.split(signature)
        parts = [part[: offset - 4] + value + part[offset - 4 + len(value) :] for part in parts]
        content = signature.join([first, *parts])
    return content


ENCRYPTED = patched(zipped({"bad": b"a"}), (b"PK\3\4", 6, b"\1"), (b"PK\1\2", 8, b"\1"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (tar({"/tmp/bad": b"a"}), "outside"),
        (tar({"../bad": b"a"}), "outside"),
        (tar({"a/../../bad": b"a"}), "outside"),
        (tar({".": b"bad"}), "outside"),
        (zipped({"/bad": b"a"}), "outside"),
        (zipped({"a/../../bad": b"a"}), "outside"),
        (link_tar("bad", tarfile.SYMTYPE), "link or a device"),
        (link_tar("bad", tarfile.LNKTYPE), "link or a device"),
        (link_tar("bad", tarfile.CHRTYPE), "link or a device"),
        (link_tar("bad", tarfile.FIFOTYPE), "link or a device"),
        (zip_of_mode(0o120777), "link or a device"),
        (zip_of_mode(0o020666), "link or a device"),
        (zip_of_mode(0o010666), "link or a device"),
        (zipped({"..\\..\\bad": b"a"}), "outside"),
        (zipped({"\x1b[2Jbad": b"a"}), "control characters"),
        (tar({"a\nbad": b"a"}), "control characters"),
        (tar({"\udcffbad": b"a"}), "control characters"),
        (zipped({"\u202ebad": b"a"}), "control characters"),
        (ENCRYPTED, "is encrypted"),
    ],
    ids=[
        *("tar root", "tar parent", "tar parent of a folder", "tar itself"),
        *("zip root", "zip parent of a folder"),
        *("tar symlink", "tar hard link", "tar device", "tar FIFO"),
        *("zip symlink", "zip device", "zip FIFO", "zip backslashes"),
        *("zip escape", "tar newline", "tar not UTF-8", "zip right to left", "zip encrypted"),
    ],
)
def test_unsafe_members(tmp_path, write_archive, content, reason):
    path = write_archive(content)
    with pytest.raises(UserError, match=f"member '.*(bad|[.])'.*{reason}"):
        unpack(path, tmp_path / "to", progress=False)
    assert set(tree(tmp_path)) == {"archive"}
    assert unpack(path, tmp_path / "to", select=lambda _: None, progress=False) == []


@pytest.mark.parametrize(
    ("first", "second"), [("a.jpg", "a.jpg"), ("a.jpg", "A.jpg"), ("\u00e9", "e\u0301")]
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_two_members_of_one_file(tmp_path, write_archive, kind, first, second):
    """Some file systems take names for the same that differ by case or by the form of Unicode."""
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w") as opened:
            opened.writestr(first, b"a")
            with pytest.warns() if first == second else nullcontext():
                opened.writestr(second, b"bb")
    else:
        with tarfile.open(fileobj=out, mode="w") as opened:
            for name in (first, second):
                opened.addfile(tarfile.TarInfo(name))
    with pytest.raises(UserError, match="have the same place in the target folder"):
        unpack(write_archive(out.getvalue()), tmp_path / "to", progress=False)


def test_sizes_that_cannot_be(tmp_path, write_archive, monkeypatch):
    """Names of gigabytes would be read into memory; sparse and compressed zeros fill a disk."""
    end = bytes(1024)
    negative = bytearray(tar_header("bad", 0))
    negative[124:136] = b"\xff" * 10 + b"\xf8\0"
    negative[148:155] = b"%06o\0" % (sum(negative[:148]) + 8 * 32 + sum(negative[156:]))
    for content in (
        tar_header("pax", 2 << 30, tarfile.XHDTYPE) + bytes(1 << 20) + end,
        tar_header("long", 2 << 30, tarfile.GNUTYPE_LONGNAME) + bytes(1 << 20) + end,
        bytes(negative) + end,
    ):
        with pytest.raises(UserError, match=r"a member of -?\d+ bytes that cannot be"):
            unpack(write_archive(content), tmp_path / "to", progress=False)
    monkeypatch.setattr(archives, "ALWAYS_ALLOWED", 100_000)
    zeros = {"a": b"a", "bad": bytes(1 << 20)}
    for content in (zipped(zeros, zipfile.ZIP_DEFLATED), tar(zeros, "gz"), tar(zeros, "xz")):
        with pytest.raises(UserError, match="'bad' makes the archive more than 100 times"):
            unpack(write_archive(content), tmp_path / "to", progress=False)
        assert set(tree(tmp_path / "to")) == {"a"}
    monkeypatch.setattr(archives, "MAX_MEMBERS", 1)
    with pytest.raises(UserError, match="more than 1 files"):
        unpack(write_archive(tar({"a": b"a", "b": b"b"})), tmp_path / "to", progress=False)
    longer = patched(zipped({"a": b"abc"}), (b"PK\1\2", 24, b"\4"))
    with pytest.raises(UserError, match="'a' has another size"):
        unpack(write_archive(longer), tmp_path / "new", progress=False)
    assert tree(tmp_path / "new") == {}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_truncated_archive(tmp_path, write_archive, kind):
    whole = ARCHIVES[kind]
    # the end of a tar is padded with zeros, of which only the first are its end marker
    end = len(whole.rstrip(b"\0")) if kind.startswith("tar") else len(whole)
    sizes = {0, 1, 300, 512, 1024, 1100, 1536, end // 3, end // 2 // 512 * 512, end - 1}
    for size in sorted(s for s in sizes if s < end):
        with pytest.raises(UserError, match=r"archive: the archive is damaged.*Get a complete one"):
            unpack(write_archive(whole[:size]), tmp_path / "to", progress=False)
        assert tree(tmp_path / "to").items() <= FILES.items()


@pytest.mark.parametrize("kind", ARCHIVES)
def test_damage_raises_only_user_errors(tmp_path, write_archive, kind):
    rng = random.Random(0)
    for _ in range(60):
        content = bytearray(ARCHIVES[kind])
        for _ in range(rng.choice((1, 30))):
            content[rng.randrange(len(content))] = rng.randrange(256)
        with suppress(UserError):
            unpack(write_archive(bytes(content)), tmp_path / "to", progress=False)


@pytest.mark.parametrize(
    "content",
    [
        ARCHIVES["zip"].replace(b"\5" * 1000, b"\5" * 999 + b"\0", 1),
        ARCHIVES["tgz"][:-8] + bytes(4) + ARCHIVES["tgz"][-4:],
        b"<html>Please log in</html>" * 100,
    ],
    ids=["zip", "gzip", "neither"],
)
def test_wrong_content(tmp_path, write_archive, content):
    with pytest.raises(UserError, match="the archive is damaged or is neither"):
        unpack(write_archive(content), tmp_path / "to", progress=False)
    assert tree(tmp_path / "to").items() <= FILES.items()


def test_missing_archive(tmp_path):
    with pytest.raises(UserError, match="none: cannot be read"):
        unpack(tmp_path / "none", tmp_path / "to", progress=False)


SLOW_SCRIPT = """
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
archives.BLOCK_SIZE = 20_000
archives.unpack(Path(sys.argv[1]), Path(sys.argv[2]), progress=False)
"""


def test_kill_while_unpacking(tmp_path, write_archive):
    files = {f"images/{i}.jpg": bytes([i]) * 100_000 for i in range(8)}
    target = tmp_path / "to"
    path = write_archive(zipped(files))
    for reads in (3, 15):
        process = start_python(SLOW_SCRIPT, path, target, reads)
        assert process.stdout.readline() == "stuck\n"
        kill(process)
        existing = tree(target)
        temporary = {name for name in existing if name.startswith("images/.")}
        assert len(temporary) == 1
        assert {
            name: existing[name] for name in existing.keys() - temporary
        }.items() <= files.items()
        remove_temporary_files(target)
        assert tree(target).keys() == existing.keys() - temporary
    assert len(existing) > 1
    unpack(path, target, progress=False)
    assert tree(target) == files


FULL_DISK_SCRIPT = """
import resource, sys
from pathlib import Path
from deeplab.utils.errors import UserError
from deeplab.utils.archives import unpack
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    unpack(Path(sys.argv[1]), Path(sys.argv[2]), progress=False)
except UserError as error:
    print(error)
"""


def test_full_disk_while_unpacking(tmp_path, write_archive):
    target = tmp_path / "to"
    path = write_archive(zipped({"a": b"a" * 40_000, "b": b"b" * 60_000, "c": b"c"}))
    message = start_python(FULL_DISK_SCRIPT, path, target).communicate()[0]
    assert str(target) in message
    assert "File too large" in message
    assert "60.3 kB more needed" in message
    assert "run this again" in message
    assert set(tree(target)) == {"a"}


def test_target_that_cannot_be_created(tmp_path, write_archive):
    path = write_archive(ARCHIVES["zip"])
    with pytest.raises(UserError, match=r"archive.*cannot be written"):
        unpack(path, path, progress=False)
