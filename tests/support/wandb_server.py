"""A W&B server on this machine: as much of it as runs, ``wandb sync`` and saved views ask for.

It keeps what it is sent as the real one does: history by the offset at which it is sent, the
summary, group and tags as they were said last, views by name.
"""

import gzip
import json
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "0" * 40
"""Of a user, as long as W&B wants it."""

PROJECT = {"id": "p", "name": "deeplabv3plus", "entity": {"id": "e", "name": "somebody"}}


@dataclass
class Kept:
    """A run."""

    said: dict = field(default_factory=dict)
    """Name, group, tags and config."""
    files: dict[str, list[str]] = field(default_factory=dict)
    uploaded: set[str] = field(default_factory=set)

    @property
    def history(self) -> list[dict]:
        return [json.loads(line) for line in self.files.get("wandb-history.jsonl", [])]

    @property
    def summary(self) -> dict:
        lines = self.files.get("wandb-summary.json", ["{}"])
        return json.loads(lines[-1])


@dataclass
class Wandb:
    """What the server keeps."""

    url: str = ""
    runs: dict[str, Kept] = field(default_factory=dict)
    views: dict[str, dict] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """Of a user who is logged in there."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": KEY, "WANDB_MODE": "online"}

    def answer(self, query: str, values: dict) -> dict:
        """The data that a GraphQL request asks for."""
        name = re.search(r"(?:query|mutation)\s+(\w+)", query)
        found = getattr(self, f"_{name[1].lower()}", None) if name else None
        if found:
            return found(values)
        empty = {"serverInfo": {"features": []}, "project": {"artifact": None}}
        return {**empty, **self._viewer(values)}

    def _viewer(self, _):
        someone = {"id": "v", "entity": "somebody", "username": "somebody", "flags": "{}"}
        return {"viewer": {**someone, "name": "somebody", "teams": {"edges": []}}}

    def _upsertbucket(self, values):
        kept = self.runs.setdefault(values["name"], Kept())
        kept.said |= {key: value for key, value in values.items() if value is not None}
        bucket = self._bucket(values["name"])
        return {"upsertBucket": {"bucket": {**bucket, "project": PROJECT}, "inserted": True}}

    def _bucket(self, name):
        kept = self.runs[name]
        return {
            "id": f"id-{name}",
            "name": name,
            "displayName": kept.said.get("displayName"),
            "config": kept.said.get("config", "{}"),
            "tags": kept.said.get("tags", []),
            "summaryMetrics": json.dumps(kept.summary),
            "historyLineCount": len(kept.history),
            "historyTail": json.dumps([json.dumps(line) for line in kept.history[-1:]]),
            "eventsLineCount": 0,
            "eventsTail": "[]",
            "logLineCount": 0,
            "wandbConfig": '{"t": {}}',
        }

    def _runresumestatus(self, values):
        known = values["name"] in self.runs
        return {"model": {**PROJECT, "bucket": self._bucket(values["name"]) if known else None}}

    def _createartifact(self, _):
        made = {"id": "a", "state": "COMMITTED", "artifactSequence": {"id": "s"}}
        return {"createArtifact": {"artifact": made}}

    def _createrunfiles(self, values):
        files = [{"name": n, "uploadUrl": f"{self.url}/upload"} for n in values["files"]]
        return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}

    def _upsertview2(self, values):
        self.views[values["name"]] = values
        view = {"id": f"id-{values['name']}", "name": values["name"]}
        return {"upsertView": {"view": view, "inserted": True}}

    def _view(self, values):
        found = self.views[values["viewName"]]
        node = {"id": f"id-{found['name']}", **found}
        return {"project": {"allViews": {"edges": [{"node": node}]}}}

    def stream(self, run: str, sent: dict) -> None:
        """What a run has sent of its files."""
        kept = self.runs[run]
        for name, part in (sent.get("files") or {}).items():
            lines = kept.files.setdefault(name, [])
            lines[part["offset"] :] = part["content"]
        kept.uploaded |= set(sent.get("uploaded") or [])


@contextmanager
def wandb_server() -> Iterator[Wandb]:
    """A server with nothing on it."""
    kept, lock = Wandb(), threading.Lock()

    class Handler(_Handler):
        def answer(self, body: bytes) -> dict:
            with lock:
                if self.path == "/graphql":
                    request = json.loads(body)
                    return {"data": kept.answer(request["query"], request.get("variables") or {})}
                if self.path.endswith("/file_stream"):
                    kept.stream(self.path.split("/")[-2], json.loads(body))
                return {"exitcode": None, "limits": {}}

    server = _Server(("127.0.0.1", 0), Handler)
    kept.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionResetError):  # the other side went away
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
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

    def log_message(self, *arguments):
        pass
