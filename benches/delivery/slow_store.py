"""An object store with S3's protocol in which every request takes a fixed time: moto's, with a pause before each response."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import Request, urlopen

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

BUCKET = "videos"


class Quiet(WSGIRequestHandler):
    """Writes no line for each request."""

    def log_request(self, *_words: object) -> None:
        pass


@contextmanager
def slow_store(delay_s: float) -> Iterator[dict[str, str]]:
    """The settings with which a fleet uses the store, which runs until the end of the block."""
    moto = DomainDispatcherApplication(create_backend_app)

    def respond(environ: dict, start: object) -> object:
        time.sleep(delay_s)
        return moto(environ, start)

    server = make_server("127.0.0.1", 0, respond, threaded=True, request_handler=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    headers = {"Authorization": "AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/s3/aws4_request"}
    urlopen(Request(f"{endpoint}/{BUCKET}", method="PUT", headers=headers)).close()
    try:
        yield {
            "FLEET__ARTIFACTS__URL": f"s3://{BUCKET}",
            "FLEET__ARTIFACTS__S3_ENDPOINT": endpoint,
            "FLEET__ARTIFACTS__S3_ALLOW_HTTP": "true",
            "FLEET__ARTIFACTS__S3_ACCESS_KEY_ID": "bench",
            "FLEET__ARTIFACTS__S3_SECRET_ACCESS_KEY": "bench",
        }
    finally:
        server.shutdown()
