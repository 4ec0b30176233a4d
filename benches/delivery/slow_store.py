"""An object store with S3's protocol, as far as our client uses it, in which every request takes a fixed time. It checks no signature."""

import re
import threading
import time
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

BUCKET = "videos"
XML = "application/xml"


class SlowStore:
    """A running store; ends with the `with` block."""

    def __init__(self, delay_s: float) -> None:
        self.delay_s, self.objects, self.uploads = delay_s, {}, {}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *args: _Request(self, *args))
        self.server.daemon_threads = True
        # A worker that ends closes its connections; that is no news.
        self.server.handle_error = lambda *_: None

    def __enter__(self) -> "SlowStore":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def variables(self) -> dict[str, str]:
        """Settings with which the fleet uses it."""
        return {
            "FLEET__ARTIFACTS__URL": f"s3://{BUCKET}",
            "FLEET__ARTIFACTS__S3_ENDPOINT": f"http://127.0.0.1:{self.server.server_port}",
            "FLEET__ARTIFACTS__S3_ALLOW_HTTP": "true",
            "FLEET__ARTIFACTS__S3_ACCESS_KEY_ID": "bench",
            "FLEET__ARTIFACTS__S3_SECRET_ACCESS_KEY": "bench",
        }


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, store: "SlowStore", *args: object) -> None:
        self.store = store
        super().__init__(*args)

    def log_message(self, *_: object) -> None:
        """Nothing: the fleet's own logs say what failed."""

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        time.sleep(self.store.delay_s)
        address = urlsplit(self.path)
        key, query = unquote(address.path).removeprefix(f"/{BUCKET}").strip("/"), parse_qs(address.query, keep_blank_values=True)
        getattr(self, f"_{self.command.lower()}")(key, query, body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle

    def _put(self, key: str, query: dict, body: bytes) -> None:
        if "uploadId" in query:
            self.store.uploads[query["uploadId"][0]][int(query["partNumber"][0])] = body
        else:
            self.store.objects[key] = body
        self._reply(200)

    def _post(self, key: str, query: dict, body: bytes) -> None:
        if "uploads" in query:
            upload = str(len(self.store.uploads) + 1)
            self.store.uploads[upload] = {}
            self._reply(200, f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>".encode())
        elif "uploadId" in query:
            parts = self.store.uploads[query["uploadId"][0]]
            self.store.objects[key] = b"".join(parts[number] for number in sorted(parts))
            self._reply(200, b'<CompleteMultipartUploadResult><ETag>"1"</ETag></CompleteMultipartUploadResult>')
        else:
            keys = re.findall(rb"<Key>(.*?)</Key>", body)
            for key_ in keys:
                self.store.objects.pop(unescape(key_.decode()), None)
            self._reply(200, b"<DeleteResult>" + b"".join(b"<Deleted><Key>" + key_ + b"</Key></Deleted>" for key_ in keys) + b"</DeleteResult>")

    def _get(self, key: str, _query: dict, _body: bytes) -> None:
        if not key:
            self._reply(200, b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
        elif key in self.store.objects:
            self._reply(200, self.store.objects[key])
        else:
            self._reply(404)

    _head = _get

    def _delete(self, key: str, _query: dict, _body: bytes) -> None:
        self.store.objects.pop(key, None)
        self._reply(204)

    def _reply(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {"ETag": '"1"', "Last-Modified": "Wed, 01 Jan 2020 00:00:00 GMT", "Content-Type": XML, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
