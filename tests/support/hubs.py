"""A Hugging Face hub on this machine, as far as its client asks for it."""

import hashlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """Repositories, and what has been asked."""

    files: dict[str, bytes]
    """By ``user/name/file``."""
    url: str = ""
    asked: list[str] = field(default_factory=list)
    """Method and path of each request."""
    cut: int | None = None
    """Bytes of the next answer, after which the connection ends; once."""
    spoil: bool = False
    """Whether other bytes are sent than were announced."""

    def variables(self, home: Path) -> dict[str, str]:
        """The environment of a process that uses it, with caches below ``home``."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home / "hf"),
            "HF_HUB_DISABLE_XET": "1",
            "TORCH_HOME": str(home / "torch"),
            "NO_PROXY": "127.0.0.1",
        }


@contextmanager
def hub(files: Mapping[str, bytes]) -> Iterator[Hub]:
    """Serve repositories; those of ``.safetensors`` are known by their SHA-256, as in LFS."""
    site = Hub(dict(files))

    class Own(Handler):
        served = site

    with serving(Own) as site.url:
        yield site


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Answer on a port of this machine; its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Handler(BaseHTTPRequestHandler):
    served: Hub

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def _answer(self, *, body: bool):
        self.served.asked.append(f"{self.command} {self.path}")
        repository, _, rest = self.path.lstrip("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        content = self.served.files.get(f"{repository}/{name}")
        known = any(path.startswith(f"{repository}/") for path in self.served.files)
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
            sent = content[start:][: self.served.cut]
            self.served.cut = None
            self.wfile.write(bytes(len(sent)) if self.served.spoil else sent)

    def log_message(self, *arguments):
        pass


def etag(name: str, content: bytes) -> str:
    """What the hub knows a file by."""
    if name.endswith(".safetensors"):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
