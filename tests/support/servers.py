"""Local web servers, and one that serves a file with configurable faults."""

import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class QuietHandler(BaseHTTPRequestHandler):
    """Request handler that prints nothing."""

    def log_message(self, *arguments):
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionResetError):  # the client disconnected
            super().handle_error(request, client_address)


@contextmanager
def listening(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    """Answer requests on a port of this machine in a thread; yield the address."""
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass(frozen=True)
class Response:
    """The response to one request; the defaults are those of a correct server."""

    status: int | None = None  # an error status, sent without a body
    ranges: bool = True  # False: ignore the Range header
    shift: int = 0  # offset in bytes between the requested range and the sent one
    cut: int | None = None  # bytes of the body after which the connection is closed
    send_length: bool = True  # send the Content-Length
    encoding: str | None = None  # a false Content-Encoding
    pause: float = 0.0  # seconds between pieces
    piece: int = 1 << 16  # bytes


@dataclass
class FileServer:
    """A served file, the planned responses, and the requests so far."""

    body: bytes
    plan: list[Response]
    url: str = ""
    requested_ranges: list[str | None] = field(default_factory=list)
    """The Range header of each request so far."""

    def next_response(self) -> Response:
        """Return the next response of the plan; the last one is repeated."""
        return self.plan.pop(0) if len(self.plan) > 1 else self.plan[0]


@contextmanager
def serving(body: bytes, *plan: Response) -> Iterator[FileServer]:
    """Serve ``body``; the responses of ``plan`` are used one after the other."""
    file_server = FileServer(body, list(plan) or [Response()])

    class Handler(_Handler):
        served = file_server

    with listening(Handler) as address:
        file_server.url = f"{address}/file"
        yield file_server


class _Handler(QuietHandler):
    served: FileServer

    def do_GET(self):
        requested = self.headers.get("Range")
        self.served.requested_ranges.append(requested)
        response, body = self.served.next_response(), self.served.body
        use_range = requested and response.ranges
        start = int(re.fullmatch(r"bytes=(\d+)-", requested)[1]) if use_range else 0
        if response.status or start >= len(body) > 0:
            self.send_response(response.status or 416)
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            start += response.shift
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if response.send_length:
            self.send_header("Content-Length", str(len(body) - start))
        if response.encoding:
            self.send_header("Content-Encoding", response.encoding)
        self.end_headers()
        self._send(body[start:][: response.cut], response)

    def _send(self, body: bytes, response: Response):
        try:
            for i in range(0, len(body), response.piece):
                self.wfile.write(body[i : i + response.piece])
                time.sleep(response.pause)
        except OSError:  # the client closed the connection
            pass
