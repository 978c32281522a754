"""A web server on this machine that serves one file, well or badly."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Response:
    """How one request is answered; as it is, like a good server does."""

    status: int | None = None  # an error, and nothing else
    ranges: bool = True  # whether a Range is heeded
    shift: int = 0  # bytes by which a Range is missed
    cut: int | None = None  # bytes of the body after which the connection ends
    announce: bool = True  # the length
    encoding: str | None = None  # a Content-Encoding that is claimed
    pause: float = 0.0  # seconds between pieces
    piece: int = 1 << 16  # bytes


@dataclass
class Site:
    """A file, how it is served, and what has been asked."""

    body: bytes
    plan: list[Response]
    url: str = ""
    asked: list[str | None] = field(default_factory=list)
    """The Range of each request so far."""

    def next_answer(self) -> Response:
        """The last answer of the plan stays."""
        return self.plan.pop(0) if len(self.plan) > 1 else self.plan[0]


@contextmanager
def serving(body: bytes, *plan: Response) -> Iterator[Site]:
    """Serve ``body``; the requests are answered by ``plan`` one after the other."""
    site = Site(body, list(plan) or [Response()])

    class Handler(_Handler):
        served = site

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site.url = f"http://127.0.0.1:{server.server_port}/file"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.socket.close()


class _Handler(BaseHTTPRequestHandler):
    served: Site

    def do_GET(self):
        wanted = self.headers.get("Range")
        self.served.asked.append(wanted)
        answer, body = self.served.next_answer(), self.served.body
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and answer.ranges else 0
        if answer.status or start >= len(body) > 0:
            self.send_response(answer.status or 416)
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            start += answer.shift
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if answer.announce:
            self.send_header("Content-Length", str(len(body) - start))
        if answer.encoding:
            self.send_header("Content-Encoding", answer.encoding)
        self.end_headers()
        self._send(body[start:][: answer.cut], answer)

    def _send(self, body: bytes, answer: Response):
        try:
            for i in range(0, len(body), answer.piece):
                self.wfile.write(body[i : i + answer.piece])
                time.sleep(answer.pause)
        except OSError:  # the other side went away
            pass

    def log_message(self, *arguments):
        pass
