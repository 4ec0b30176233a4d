"""A small HTTP server whose responses a function chooses: for webhooks, probes, traces and other requests that our programs send."""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Request:
    """What a receiver got."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Receiver(ThreadingHTTPServer):
    """Listens until it is closed, without a port on any free one; `respond` returns the status and body of each response."""

    daemon_threads = True

    def __init__(self, respond: Callable[[Request], tuple[int, bytes]], port: int = 0, content_type: str = "text/plain") -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.respond, self.content_type = respond, content_type
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def server_close(self) -> None:
        self.shutdown()
        super().server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        status, response = self.server.respond(Request(self.command, self.path, dict(self.headers.items()), body))
        # A client may be content with the status and leave.
        with suppress(ConnectionError):
            self.send_response(status)
            self.send_header("content-type", self.server.content_type)
            self.send_header("content-length", str(len(response)))
            self.end_headers()
            self.wfile.write(response)

    do_GET = do_POST = do_PATCH = _handle

    def log_message(self, *_words: object) -> None:
        """Requests are not logged."""
