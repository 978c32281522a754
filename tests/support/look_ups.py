"""A network of its own for a command, whose resolver answers nothing and writes down the names.

Run as ``unshare --map-root-user --net --mount python look_ups.py FILE COMMAND...``: the command and
all of its helpers, Python or not, have no network but the loopback and this resolver. ``FILE`` gets
a line for each query.
"""

import fcntl
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

SIOCSIFFLAGS, IFF_UP = 0x8914, 1

RESOLVER = {
    "/etc/resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
    "/etc/nsswitch.conf": "hosts: files dns\n",
}


def main(names: str, *command: str) -> None:
    """Run the command and exit with its status."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP))
    for path, text in RESOLVER.items():
        with tempfile.NamedTemporaryFile("w") as file:  # stays as the mounted file
            file.write(text)
            file.flush()
            subprocess.run(["mount", "--bind", file.name, path], check=True)
    resolver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    resolver.bind(("127.0.0.1", 53))
    threading.Thread(target=write_names, args=(resolver, Path(names)), daemon=True).start()
    sys.exit(subprocess.run(command, check=False).returncode)


def write_names(resolver: socket.socket, path: Path) -> None:
    """Append the name of each query to a file and answer that it does not exist."""
    while True:
        query, client = resolver.recvfrom(4096)
        labels, position = [], 12
        while length := query[position]:
            labels.append(query[position + 1 : position + 1 + length].decode())
            position += 1 + length
        with path.open("a") as file:
            file.write(".".join(labels) + "\n")
        header = query[:2] + b"\x81\x83" + query[4:6] + bytes(6)
        resolver.sendto(header + query[12 : position + 5], client)


if __name__ == "__main__":
    main(*sys.argv[1:])
