"""A Hugging Face hub on this machine to upload to, which serves what has come, as ``hubs`` does.

Files whose names end as in ``LARGE`` go the way of Git LFS, as the real one asks for; others come
in the commit itself.
"""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType

from support import hubs
from support.hubs import COMMIT

LARGE = (".safetensors", ".onnx", ".pt2")
TOKEN = "hf_token_of_somebody"


@dataclass
class Repository:
    """What has been committed, by path, and how it was made."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)


@dataclass
class Hub:
    """What the server keeps. Only ``somebody`` may write, to repositories of that name."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    """What was uploaded by LFS, by SHA-256."""
    asked: list[str] = field(default_factory=list)

    def environment(self, home: object, token: str | None = TOKEN) -> dict[str, str]:
        """Of a user who is logged in there, if there is a ``token``."""
        there = {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
        return {**there, "HF_HUB_DISABLE_TELEMETRY": "1", **({"HF_TOKEN": token} if token else {})}

    def create(self, said: dict) -> tuple[int, dict]:
        name = f"{said['organization']}/{said['name']}"
        if said["organization"] != "somebody":
            return 403, {"error": f"You have no right to create a model under {name}"}
        if name in self.repositories:
            return 409, {"error": "You already created this model repo", "url": self._address(name)}
        private = said.get("visibility") == "private" or bool(said.get("private"))
        self.repositories[name] = Repository(private)
        return 200, {"url": self._address(name)}

    def commit(self, name: str, lines: list[dict]) -> tuple[int, dict]:
        repository = self.repositories[name]
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                repository.messages.append(value["summary"])
            elif line["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                content = self.objects[value["oid"]]
                assert len(content) == value["size"]
                repository.files[value["path"]] = content
            else:
                return 400, {"error": f"{line['key']} is not known here"}
        address = f"{self._address(name)}/commit/{COMMIT}"
        return 200, {"success": True, "commitOid": COMMIT, "commitUrl": address}

    def batch(self, said: dict) -> dict:
        """Where to put each object; nowhere if it is here."""
        found = []
        for wanted in said["objects"]:
            known = wanted["oid"] in self.objects
            upload = {"upload": {"href": f"{self.url}/lfs/{wanted['oid']}"}}
            found.append({**wanted, **({} if known else {"actions": upload})})
        return {"transfer": "basic", "objects": found}

    def _address(self, name: str) -> str:
        return f"{self.url}/{name}"


@contextmanager
def hub_server() -> Iterator[Hub]:
    """A hub with nothing on it."""
    kept = Hub()

    class Handler(_Handler):
        hub = kept

    with hubs.serving(Handler) as kept.url:
        yield kept


class _Handler(hubs.Handler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_GET(self):
        if self._path() == "/api/whoami-v2":
            known = self._known()
            answer = {"name": "somebody", "type": "user"} if known else {"error": "Invalid token"}
            self._send(200 if known else 401, answer)
        else:
            super().do_GET()

    @property
    def served(self) -> hubs.Hub:
        """The files of all repositories, to be downloaded."""
        kept = self.hub.repositories.items()
        return hubs.Hub(
            {f"{name}/{path}": content for name, r in kept for path, content in r.files.items()},
            asked=self.hub.asked,
        )

    def do_PUT(self):
        content = self._body()
        self.hub.objects[hashlib.sha256(content).hexdigest()] = content
        self._send(200, {})

    def do_POST(self):
        body, path = self._body(), self._path()
        if not self._known():
            return self._send(401, {"error": "Invalid token"})
        if path.endswith("/commit/main"):
            lines = [json.loads(line) for line in body.splitlines()]
            return self._send(*self.hub.commit("/".join(path.split("/")[3:5]), lines))
        said = json.loads(body)
        if path == "/api/repos/create":
            return self._send(*self.hub.create(said))
        if path == "/api/validate-yaml":
            return self._send(200, {"errors": [], "warnings": []})
        if path.endswith("/preupload/main"):
            return self._send(200, {"files": [self._mode(file) for file in said["files"]]})
        if path.endswith("/info/lfs/objects/batch"):
            return self._send(200, self.hub.batch(said))
        return self._send(404, {"error": f"{path} is not known here"})

    def _mode(self, file: dict) -> dict:
        mode = "lfs" if file["path"].endswith(LARGE) else "regular"
        return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}

    def _known(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _path(self) -> str:
        return self.path.partition("?")[0]

    def _body(self) -> bytes:
        self.hub.asked.append(self._path())
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _send(self, status: int, answer: object, headers: Mapping[str, str] = MappingProxyType({})):
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *arguments):
        pass
