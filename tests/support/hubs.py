"""Local server with the parts of the Hugging Face hub that its client uses."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support.servers import QuietHandler, listening

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """Repositories of the server and the requests it received."""

    files: dict[str, bytes]
    """Contents by ``user/name/file``."""
    url: str = ""
    requests: list[str] = field(default_factory=list)
    """Method and path of each request."""
    cut: int | None = None
    """Number of bytes after which the next answer's connection ends; applies once."""
    corrupt: bool = False
    """True to send other bytes than announced."""

    def variables(self, home: Path) -> dict[str, str]:
        """Return the environment of a process that uses the server, with caches below ``home``."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home / "hf"),
            "HF_HUB_DISABLE_XET": "1",
            "TORCH_HOME": str(home / "torch"),
            "NO_PROXY": "127.0.0.1",
        }


@contextmanager
def hub(files: Mapping[str, bytes], *, datasets: bool = False) -> Iterator[Hub]:
    """Serve repositories; ``.safetensors`` files have their SHA-256 as ETag, as in Git LFS."""
    prefix = "datasets/" * datasets
    site = Hub({f"{prefix}{path}": content for path, content in files.items()})

    class SiteHandler(Handler):
        hub_files = site

    with listening(SiteHandler) as site.url:
        yield site


class Handler(QuietHandler):
    hub_files: Hub

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        if self.path.startswith("/api/datasets/"):
            self._describe(self.path.removeprefix("/api/").partition("?")[0])
        else:
            self._answer(body=True)

    def _describe(self, path: str):
        """Send the state of a repository, or the list of a folder in it."""
        name, _, rest = path.partition("/tree/")
        repository = "/".join(name.split("/")[:3])
        folder = rest.partition("/")[2]
        paths = [p.removeprefix(f"{repository}/") for p in self.hub_files.files]
        content: object = {
            "id": repository.removeprefix("datasets/"), "sha": COMMIT, "private": False,
            "tags": [], "siblings": [{"rfilename": p} for p in paths],
        }  # fmt: skip
        if rest:
            below = [p for p in paths if p.startswith(f"{folder}/" if folder else "")]
            direct = [p for p in below if p.rpartition("/")[0] == folder]
            folders = {p.split("/")[0] for p in below if not folder and "/" in p}
            sizes = {p: len(self.hub_files.files[f"{repository}/{p}"]) for p in direct}
            entry = {"oid": "0" * 40, "size": 0}
            content = [
                *({**entry, "type": "file", "path": p, "size": n} for p, n in sizes.items()),
                *({**entry, "type": "directory", "path": p} for p in folders),
            ]
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _answer(self, *, body: bool):
        self.hub_files.requests.append(f"{self.command} {self.path}")
        repository, _, rest = self.path.lstrip("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        content = self.hub_files.files.get(f"{repository}/{name}")
        known = any(path.startswith(f"{repository}/") for path in self.hub_files.files)
        if content is None or revision not in ("main", COMMIT):
            self.send_response(404)
            error = "RepoNotFound" if not known else "EntryNotFound"
            if known and revision not in ("main", COMMIT):
                error = "RevisionNotFound"
            self.send_header("X-Error-Code", error)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = int((self.headers.get("Range") or "bytes=0-")[6:].partition("-")[0])
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{etag(name, content)}"')
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if body:
            sent = content[start:][: self.hub_files.cut]
            self.hub_files.cut = None
            self.wfile.write(bytes(len(sent)) if self.hub_files.corrupt else sent)


def etag(name: str, content: bytes) -> str:
    """Return the hub's ETag of a file."""
    if name.endswith(".safetensors"):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
