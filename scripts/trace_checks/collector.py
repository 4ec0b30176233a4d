"""A collector of traces: takes OTLP over HTTP and reads it with OpenTelemetry's own definitions, which share no code with the sender."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse


@dataclass
class Span:
    """A span as it was received; ids are hexadecimal, times nanoseconds since 1970."""

    service: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    start: int
    end: int
    attributes: dict
    events: dict[str, int]
    error: str

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return (self.end - self.start) / 1e9


def _plain(attributes: list) -> dict:
    """Attributes by name; OTLP writes integers as text in JSON."""

    def value(one: dict) -> object:
        ((kind, content),) = one.items()
        return int(content) if kind == "intValue" else content

    return {one.key: value(MessageToDict(one.value)) for one in attributes}


def read(body: bytes) -> list[Span]:
    """The spans of a request."""
    spans = []
    for part in ExportTraceServiceRequest.FromString(body).resource_spans:
        service = _plain(part.resource.attributes)["service.name"]
        for span in (span for scope in part.scope_spans for span in scope.spans):
            ids = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
            events = {event.name: event.time_unix_nano for event in span.events}
            error = span.status.message if span.status.code == span.status.STATUS_CODE_ERROR else ""
            times = span.start_time_unix_nano, span.end_time_unix_nano
            spans.append(Span(service, span.name, span.kind, *ids, *times, _plain(span.attributes), events, error))
    return spans


class Collector(ThreadingHTTPServer):
    """Listens until it is closed; without a port, on any free one."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.spans: list[Span] = []
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def of(self, trace_id: str) -> list[Span]:
        """The spans of a trace so far."""
        return [span for span in list(self.spans) if span.trace_id == trace_id]

    def server_close(self) -> None:
        self.shutdown()
        super().server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        """Takes spans, as OTLP/HTTP prescribes: protobuf to one path."""
        body = self.rfile.read(int(self.headers["content-length"]))
        right = self.path == "/v1/traces" and self.headers["content-type"] == "application/x-protobuf"
        if right:
            self.server.spans += read(body)
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200 if right else 400)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_words: object) -> None:
        """Requests are not logged."""
