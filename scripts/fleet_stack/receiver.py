"""A small HTTP server whose responses a function chooses: for webhooks, probes and other requests that our programs send."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Request:
    """What a receiver got."""

    method: str
    path: str
    headers: dict[str, str]
    body: str


class Receiver(ThreadingHTTPServer):
    """Listens on a free port of this machine until it is closed; `respond` returns the status and text of each response."""

    daemon_threads = True

    def __init__(self, respond: Callable[[Request], tuple[int, str]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.respond = respond
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def server_close(self) -> None:
        self.shutdown()
        super().server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        status, text = self.server.respond(Request(self.command, self.path, dict(self.headers.items()), body))
        self.send_response(status)
        self.send_header("content-length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST = do_PATCH = _handle

    def log_message(self, *_words: object) -> None:
        """Requests are not logged."""
