"""Local Hugging Face hub for uploads, which serves the uploaded files as ``hubs`` does.

Files with the suffixes in ``LFS_SUFFIXES`` are uploaded with Git LFS, as on the real hub; other
files are in the commit itself.
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
from support.servers import listening

LFS_SUFFIXES = (".safetensors", ".onnx", ".pt2")
TOKEN = "hf_token_of_somebody"


@dataclass
class Repository:
    """Committed files by path, commit messages, and visibility."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)


@dataclass
class Hub:
    """State of the server; only the user ``somebody`` may write, to their own repositories."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    """LFS uploads, by SHA-256."""
    requests: list[str] = field(default_factory=list)

    def environment(self, home: object, token: str | None = TOKEN) -> dict[str, str]:
        """Return the environment of a user of this hub, logged in if there is a ``token``."""
        hub = {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
        return {**hub, "HF_HUB_DISABLE_TELEMETRY": "1", **({"HF_TOKEN": token} if token else {})}

    def create(self, request: dict) -> tuple[int, dict]:
        name = f"{request['organization']}/{request['name']}"
        if request["organization"] != "somebody":
            return 403, {"error": f"You have no right to create a model under {name}"}
        if name in self.repositories:
            return 409, {"error": "You already created this model repo", "url": self._address(name)}
        private = request.get("visibility") == "private" or bool(request.get("private"))
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

    def batch(self, request: dict) -> dict:
        """Return the upload address of each object; none if the server has it already."""
        objects = []
        for item in request["objects"]:
            known = item["oid"] in self.objects
            upload = {"upload": {"href": f"{self.url}/lfs/{item['oid']}"}}
            objects.append({**item, **({} if known else {"actions": upload})})
        return {"transfer": "basic", "objects": objects}

    def _address(self, name: str) -> str:
        return f"{self.url}/{name}"


@contextmanager
def hub_server() -> Iterator[Hub]:
    """Serve an empty hub."""
    state = Hub()

    class Handler(_Handler):
        hub = state

    with listening(Handler) as state.url:
        yield state


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
    def hub_files(self) -> hubs.Hub:
        """Files of all repositories, for downloads."""
        items = self.hub.repositories.items()
        return hubs.Hub(
            {f"{name}/{path}": content for name, r in items for path, content in r.files.items()},
            requests=self.hub.requests,
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
        request = json.loads(body)
        if path == "/api/repos/create":
            return self._send(*self.hub.create(request))
        if path == "/api/validate-yaml":
            return self._send(200, {"errors": [], "warnings": []})
        if path.endswith("/preupload/main"):
            return self._send(200, {"files": [self._mode(file) for file in request["files"]]})
        if path.endswith("/info/lfs/objects/batch"):
            return self._send(200, self.hub.batch(request))
        return self._send(404, {"error": f"{path} is not known here"})

    def _mode(self, file: dict) -> dict:
        mode = "lfs" if file["path"].endswith(LFS_SUFFIXES) else "regular"
        return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}

    def _known(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _path(self) -> str:
        return self.path.partition("?")[0]

    def _body(self) -> bytes:
        self.hub.requests.append(self._path())
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
