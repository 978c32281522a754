"""Local server with the parts of W&B that runs, ``wandb sync`` and saved views use.

It stores data as the real server does: history by the offset at which it is sent, the latest
summary, group and tags, views by name.
"""

import gzip
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from support.servers import QuietHandler, listening

KEY = "0" * 40
"""API key of a user, of the length that W&B requires."""

PROJECT = {"id": "p", "name": "deeplabv3plus", "entity": {"id": "e", "name": "somebody"}}


@dataclass
class StoredRun:
    """State of a run on the server."""

    attributes: dict = field(default_factory=dict)
    """Name, group, tags and config."""
    files: dict[str, list[str]] = field(default_factory=dict)
    uploaded: set[str] = field(default_factory=set)
    exit_code: int | None = None

    @property
    def history(self) -> list[dict]:
        return [json.loads(line) for line in self.files.get("wandb-history.jsonl", [])]

    @property
    def summary(self) -> dict:
        lines = self.files.get("wandb-summary.json", ["{}"])
        return json.loads(lines[-1])


@dataclass
class Wandb:
    """State of the server."""

    url: str = ""
    runs: dict[str, StoredRun] = field(default_factory=dict)
    views: dict[str, dict] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """Environment of a user who is logged in."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": KEY, "WANDB_MODE": "online"}

    def answer(self, query: str, values: dict) -> dict:
        """Return the data of a GraphQL request."""
        name = re.search(r"(?:query|mutation)\s+(\w+)", query)
        method = getattr(self, f"_{name[1].lower()}", None) if name else None
        if method:
            return method(values)
        empty = {"serverInfo": {"features": []}, "project": {"artifact": None}}
        return {**empty, **self._viewer(values)}

    def _viewer(self, _):
        user = {"id": "v", "entity": "somebody", "username": "somebody", "flags": "{}"}
        return {"viewer": {**user, "name": "somebody", "teams": {"edges": []}}}

    def _upsertbucket(self, values):
        stored = self.runs.setdefault(values["name"], StoredRun())
        stored.attributes |= {key: value for key, value in values.items() if value is not None}
        bucket = self._bucket(values["name"])
        return {"upsertBucket": {"bucket": {**bucket, "project": PROJECT}, "inserted": True}}

    def _bucket(self, name):
        stored = self.runs[name]
        return {
            "id": f"id-{name}",
            "name": name,
            "displayName": stored.attributes.get("displayName"),
            "config": stored.attributes.get("config", "{}"),
            "tags": stored.attributes.get("tags", []),
            "summaryMetrics": json.dumps(stored.summary),
            "historyLineCount": len(stored.history),
            "historyTail": json.dumps([json.dumps(line) for line in stored.history[-1:]]),
            "eventsLineCount": 0,
            "eventsTail": "[]",
            "logLineCount": 0,
            "wandbConfig": '{"t": {}}',
        }

    def _runresumestatus(self, values):
        known = values["name"] in self.runs
        return {"model": {**PROJECT, "bucket": self._bucket(values["name"]) if known else None}}

    def _createartifact(self, _):
        artifact = {"id": "a", "state": "COMMITTED", "artifactSequence": {"id": "s"}}
        return {"createArtifact": {"artifact": artifact}}

    def _createrunfiles(self, values):
        files = [{"name": n, "uploadUrl": f"{self.url}/upload"} for n in values["files"]]
        return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}

    def _upsertview2(self, values):
        self.views[values["name"]] = values
        view = {"id": f"id-{values['name']}", "name": values["name"]}
        return {"upsertView": {"view": view, "inserted": True}}

    def _view(self, values):
        view = self.views[values["viewName"]]
        node = {"id": f"id-{view['name']}", **view}
        return {"project": {"allViews": {"edges": [{"node": node}]}}}

    def stream(self, run: str, sent: dict) -> None:
        """Store the parts of files that a run has sent."""
        stored = self.runs[run]
        for name, part in (sent.get("files") or {}).items():
            lines = stored.files.setdefault(name, [])
            lines[part["offset"] :] = part["content"]
        stored.uploaded |= set(sent.get("uploaded") or [])
        if sent.get("complete"):
            stored.exit_code = sent.get("exitcode")


@contextmanager
def wandb_server() -> Iterator[Wandb]:
    """Serve an empty W&B."""
    state, lock = Wandb(), threading.Lock()

    class Handler(_Handler):
        def answer(self, body: bytes) -> dict:
            with lock:
                if self.path == "/graphql":
                    request = json.loads(body)
                    return {"data": state.answer(request["query"], request.get("variables") or {})}
                if self.path.endswith("/file_stream"):
                    state.stream(self.path.split("/")[-2], json.loads(body))
                return {"exitcode": None, "limits": {}}

    with listening(Handler) as state.url:
        yield state


class _Handler(QuietHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, body: bytes) -> dict:
        raise NotImplementedError

    def do_POST(self):
        body = self._body()
        self._send(self.answer(body))

    def do_PUT(self):
        self._body()
        self._send({})

    def do_GET(self):
        self._send({})

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _send(self, values: dict):
        text = json.dumps(values).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
