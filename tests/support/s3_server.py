"""Local server that answers as S3: lists a bucket, and serves files and parts of them."""

from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from support.servers import QuietHandler, listening

KEYS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}


class _Handler(QuietHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments, root, requests):
        self.root, self.requests = root, requests
        super().__init__(*arguments)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        url = urlsplit(self.path)
        bucket, _, key = unquote(url.path).lstrip("/").partition("/")
        path = self.root / bucket / key
        self.requests.append((self.command, key, self.headers.get("Range")))
        if not key:
            query = parse_qs(url.query)
            self._list(self.root / bucket, query.get("prefix", [""])[0], query.get("delimiter"))
        elif not path.is_file():
            self._send(404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            content, status, headers = path.read_bytes(), 200, {"ETag": f'"{path.stat().st_mtime}"'}
            if part := self.headers.get("Range"):
                first, last = part.removeprefix("bytes=").split("-")
                headers["Content-Range"] = f"bytes {first}-{last or ''}/{len(content)}"
                content, status = content[int(first) : int(last or len(content)) + 1], 206
            self._send(status, content, headers)

    def _list(self, bucket, prefix, delimiter):
        files = sorted(p for p in bucket.rglob("*") if p.is_file()) if bucket.is_dir() else []
        keys = {p.relative_to(bucket).as_posix(): p.stat() for p in files}
        rows = [
            f"<Contents><Key>{key}</Key><Size>{stat.st_size}</Size><ETag>{stat.st_mtime}</ETag>"
            "<LastModified>2020-01-01T00:00:00.000Z</LastModified></Contents>"
            for key, stat in keys.items()
            if key.startswith(prefix) and not (delimiter and "/" in key[len(prefix) :])
        ]
        text = (
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<KeyCount>{len(rows)}</KeyCount>{''.join(rows)}</ListBucketResult>"
        )
        self._send(200, text.encode())

    def _send(self, status, content, headers=None):
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextmanager
def serving(root: Path):
    """Serve the folders of ``root`` as buckets.

    Yields:
        The variables that let a client find the server, and the requests: method, key and range.
    """
    requests = []
    with listening(partial(_Handler, root=root, requests=requests)) as address:
        yield {**KEYS, "AWS_ENDPOINT_URL": address}, requests
