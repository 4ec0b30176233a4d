"""What OpenAI's unmodified client does with the fleet, step by step. Each step fails with a Problem that says what differed."""

import asyncio
import json
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openai
from fleet_stack import tools
from fleet_stack.console import say
from fleet_stack.fleet import require

from .balancer import Balancer

PROMPT = "a large red ball moves to the right on the snow"
# Enough steps for several polls on any machine.
SLOW = {"num_inference_steps": 60, "step_cache": "off"}
QUICK = {"num_inference_steps": 4}

# OpenAI closed its own service; the client says so at each call.
warnings.filterwarnings("ignore", category=DeprecationWarning)


@contextmanager
def refused(kind: type[openai.OpenAIError], **expected: object) -> Iterator[None]:
    """The block ends with this error, which has these attributes."""
    try:
        yield
    except kind as error:
        for name, value in expected.items():
            require(getattr(error, name, None) == value, f"{kind.__name__}.{name} is {value!r}, found {getattr(error, name, None)!r}")
        return
    require(False, f"the call ends with {kind.__name__}")


def probe(video: bytes, folder: Path) -> dict:
    """What ffprobe reads from an MP4."""
    path = folder / "check.mp4"
    path.write_bytes(video)
    argv = [str(tools.need("ffprobe")), "-v", "error", "-count_frames", "-show_entries", "stream=width,height,nb_read_frames", "-of", "json", str(path)]
    return json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)["streams"][0]


def render(client: openai.OpenAI, folder: Path) -> str:
    """Creates a video, polls until it is there and downloads it; returns its id."""
    video = client.videos.create_and_poll(model="sora-2", prompt=PROMPT, size="1280x720", seconds="4", extra_body=SLOW)
    require(video.status == "completed" and video.progress == 100 and video.error is None, f"completed: {video}")
    require((video.size, video.seconds, video.prompt) == ("64x64", "4", PROMPT), f"the video is described: {video}")
    require(video.model_extra["requested_size"] == "1280x720", f"the requested size is kept: {video}")
    content = client.videos.download_content(video.id).read()
    found = probe(content, folder)
    require((found["width"], found["height"]) == (64, 64) and found["nb_read_frames"] == str(video.model_extra["num_frames"]), f"an MP4: {found}")
    with client.videos.with_streaming_response.download_content(video.id) as stream:
        require(b"".join(stream.iter_bytes()) == content, "a streamed download has the same bytes")
    thumbnail = client.videos.download_content(video.id, variant="thumbnail").read()
    require(thumbnail[:2] == b"\xff\xd8", "the thumbnail is a JPEG")
    return video.id


def polling(client: openai.OpenAI) -> None:
    """The server says when to ask again, and the asynchronous client follows it, too."""
    raw = client.videos.with_raw_response.create(prompt=PROMPT, extra_body=QUICK)
    require(250 <= int(raw.headers["openai-poll-after-ms"]) <= 10_000, "openai-poll-after-ms is a number of milliseconds")
    client.videos.poll(raw.parse().id)

    async def render() -> object:
        async with openai.AsyncOpenAI(base_url=client.base_url, api_key=client.api_key) as other:
            return await other.videos.create_and_poll(prompt=PROMPT, extra_body=QUICK)

    require(asyncio.run(render()).status == "completed", "the asynchronous client gets its video")


def manage(client: openai.OpenAI, first: str) -> None:
    """Lists, remixes, cancels and deletes."""
    require("sora-2" in [model.id for model in client.models.list()], "the alias is among the models")
    listed = [video.id for video in client.videos.list(limit=1, order="asc")]
    require(listed[0] == first and len(listed) == len(set(listed)) >= 3, f"pages of one list every video once: {listed}")
    require([video.id for video in client.videos.list(limit=2)] == listed[::-1], "the other direction has the same videos")
    remix = client.videos.remix(first, prompt="a large blue ball moves to the right on the snow")
    require(remix.remixed_from_video_id == first and remix.size == "64x64", f"a remix names its source: {remix}")
    require(client.videos.delete(remix.id).deleted, "a video can be deleted before it is completed")
    with refused(openai.NotFoundError, status_code=404):
        client.videos.retrieve(remix.id)
    require(remix.id not in [video.id for video in client.videos.list()], "a deleted video is not listed")


def errors(client: openai.OpenAI) -> None:
    """Every error has the class, the parameter and the code that programs compare."""
    with refused(openai.BadRequestError, param="seconds", code="invalid_value"):
        client.videos.create(prompt=PROMPT, seconds="12")
    with refused(openai.BadRequestError, param="input_reference"):
        client.videos.create(prompt=PROMPT, input_reference=("a.png", b"\x89PNG", "image/png"))
    with refused(openai.BadRequestError, param="stepz", code="unknown_parameter"):
        client.videos.create(prompt=PROMPT, extra_body={"stepz": 4}, extra_headers={"Content-Type": "application/json"})
    with refused(openai.NotFoundError, code="model_not_found"):
        client.videos.create(prompt=PROMPT, model="sora-3")
    with refused(openai.NotFoundError, code="not_found"):
        client.videos.retrieve("video_unknown")
    with refused(openai.AuthenticationError, code="invalid_api_key"):
        client.with_options(api_key="wrong").videos.list()
    with refused(openai.NotFoundError):
        client.chat.completions.create(model="sora-2", messages=[{"role": "user", "content": "hello"}])


def cancelled(client: openai.OpenAI, cancel) -> None:
    """A cancelled job is a failed video with a code, and its content is a 404 that is not repeated."""
    video = client.videos.create(prompt=PROMPT, extra_body=SLOW)
    cancel(video.id)
    video = client.videos.poll(video.id)
    require(video.status == "failed" and video.error.code == "cancelled", f"failed as cancelled: {video}")
    with refused(openai.NotFoundError, code="video_failed"):
        client.videos.download_content(video.id)


def lost_response(client: openai.OpenAI, balancer: Balancer) -> None:
    """A submission whose response is lost is repeated by the client, and is still one video."""
    before = {video.id for video in client.videos.list(limit=100)}
    balancer.lose_next_response()
    video = client.videos.create(prompt=PROMPT, seconds="1", extra_body=QUICK)
    require(not balancer.lost.empty(), "a response was lost")
    after = {video.id for video in client.videos.list(limit=100)}
    require(after - before == {video.id}, f"one new video, the one that was returned: {after - before}")
    again = client.videos.create(prompt=PROMPT, seconds="1", extra_body=QUICK)
    require(again.id != video.id, "an equal request that is no retry is another video")


def rate(client: openai.OpenAI) -> None:
    """A limit is a RateLimitError; with its retries the client waits as long as it is asked to, and gets a video of its own."""
    first = client.videos.create(prompt=PROMPT, extra_body=QUICK)
    with refused(openai.RateLimitError, code="rate_limit_exceeded"):
        while True:
            client.with_options(max_retries=0).videos.create(prompt="a small blue star spins at night", extra_body=QUICK)
    second = client.with_options(max_retries=5).videos.create(prompt=PROMPT, extra_body=QUICK)
    require(first.id != second.id, "each accepted submission is a video")
    say("all steps passed")
