"""A collector of traces: takes OTLP over HTTP and reads it with OpenTelemetry's own definitions, which share no code with the sender."""

from dataclasses import dataclass

from fleet_stack.receiver import Receiver, Request
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

PROTOBUF = "application/x-protobuf"


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


class Collector(Receiver):
    """Keeps the spans that it gets, as OTLP over HTTP prescribes: protobuf to one path."""

    def __init__(self, port: int = 0) -> None:
        self.spans: list[Span] = []
        super().__init__(self._take, port, PROTOBUF)

    def _take(self, request: Request) -> tuple[int, bytes]:
        right = request.path == "/v1/traces" and request.headers["content-type"] == PROTOBUF
        if right:
            self.spans += read(request.body)
        return 200 if right else 400, ExportTraceServiceResponse().SerializeToString()

    def of(self, trace_id: str) -> list[Span]:
        """The spans of a trace so far."""
        return [span for span in list(self.spans) if span.trace_id == trace_id]
