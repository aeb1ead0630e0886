"""A Docker engine of its HTTP interface alone: as much as the matrix asks, and a record of it.

The process boundary is where we fake: sagegen, the Docker SDK, make and the repository are real.
"""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class FakeEngine(ThreadingHTTPServer):
    """Listens on a free port of loopback; every container serves on that same port."""

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.root = root
        self.asked: list[str] = []
        self.containers: set[str] = set()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def host(self) -> str:
        return f"tcp://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: FakeEngine
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = re.sub(r"^/v[\d.]+|\?.*", "", self.path)
        self.server.asked.append(f"{self.command} {path}")
        status, value = self.reply(f"{self.command} {path}", body)
        payload = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        if path.startswith("/exec/"):
            self.send_header("Connection", "close")  # the SDK reads a command's output to its end
        self.end_headers()
        self.wfile.write(payload)

    do_GET = do_POST = do_DELETE = answer

    def reply(self, asked: str, body: bytes) -> tuple[int, object]:
        server = self.server
        match asked.split("/"):
            case ["GET ", "ping"]:
                return 200, None
            case ["GET ", "version"]:
                return 200, {"ApiVersion": "1.45", "Version": "26.1.5"}
            case ["GET ", "info"]:
                info = {"ServerVersion": "26.1.5", "NCPU": 2, "MemTotal": 8 * 2**30, "OperatingSystem": "x"}
                return 200, {**info, "DockerRootDir": str(server.root)}
            case ["GET ", "images", *_, "history"]:
                base = {"Created": 1, "CreatedBy": "base", "Size": 100_000_000}
                own = {"Created": hash(asked), "CreatedBy": "COPY", "Size": 20_000_000}
                return 200, [own, {"Created": 2, "CreatedBy": "ENV", "Size": 0}, base]
            case ["GET ", "images", "Bad%20Name", "json"]:
                return 400, {"message": "invalid reference format"}
            case ["GET ", "images", *name, "json"]:
                return 200, {"Id": "-".join(name), "Size": 120_000_000}
            case ["POST ", "containers", "create"]:
                name = f"c{len(server.asked)}"
                server.containers.add(name)
                return 201, {"Id": name}
            case ["POST ", "containers", _, "exec"]:
                return 201, {"Id": "e"}
            case ["GET ", "exec", _, "json"]:
                return 200, {"ExitCode": 1}
            case ["GET ", "containers", name, "json"] if name != "json":
                ports = {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(server.server_port)}]}
                state = {"Status": "running"}
                return 200, {"Id": name, "State": state, "NetworkSettings": {"Ports": ports}}
            case ["DELETE ", "containers", name]:
                server.containers.discard(name)
                return 204, None
            case ["GET ", "containers", "json"] | ["GET ", "networks"] | ["DELETE ", "images", *_]:
                return 200, []
            case ["POST ", "containers", _, "start"]:
                return 204, None
        return 200, {}

    def log_message(self, *_: object) -> None:
        """Silence: what was asked is in `asked`."""
