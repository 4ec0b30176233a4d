"""The made images as a fleet: started with what docker-compose.yml says, on the services beside us."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from pathlib import Path

from deploy_checks import compose, dockerfile, live
from deploy_checks.report import equal, expect
from fleet_stack.console import Problem, say

from . import commands
from .sandbox import Place, Running
from .stages import Builder, Image

PATIENCE_S = 300.0
# What Compose starts, in its order -> target of the Dockerfile.
TARGETS = {"backend": "api", "scheduler": "scheduler", "worker": "worker-cpu"}


class Fleet:
    """Three containers, played by three places."""

    def __init__(self, builder: Builder) -> None:
        self.services = compose.configuration()["services"]
        self.images = {name: builder.image(target) for name, target in TARGETS.items()}
        self.home = Path(live.services()["dir"])
        self.home.chmod(0o755)
        self.videos = self.home / "videos"
        self.videos.mkdir()
        # A named volume takes its owner from the image's folder.
        owner = (self.images["worker"].root / "var/lib/fleet/artifacts").stat()
        os.chown(self.videos, owner.st_uid, owner.st_gid)
        self.ports = {"SERVER__PORT": live.free_port(), "SERVER__METRICS_PORT": live.free_port()}
        self.ports |= {"SCHEDULER__METRICS_PORT": live.free_port(), "WORKER__METRICS_PORT": live.free_port()}
        self.database = live.fresh_database("images")
        self.running: dict[str, Running] = {}

    def place(self, name: str) -> Place:
        """Where a service of the compose file runs."""
        image, service = self.images[name], self.services[name]
        place = image.place()
        place.read_only = service["read_only"]
        place.variables |= service["environment"] | live.addresses(self.database)
        place.variables |= {f"FLEET__{key}": str(port) for key, port in self.ports.items()}
        # Names are not resolved inside; everything is on the loopback address.
        place.binds = [(self.videos, "/var/lib/fleet/artifacts", False)]
        return place

    def start(self, name: str) -> None:
        """As `docker compose up` would."""
        argv = [*self.images[name].entry, *(self.services[name].get("command") or self.images[name].command)]
        self.running[name] = self.place(name).start(argv, self.home / f"{name}.log")

    def healthy(self, name: str) -> None:
        """Runs the very health check until it is content."""
        kind, *argv = self.services[name]["healthcheck"]["test"]
        equal(kind, "CMD", f"{name}: kind of health check")
        ports = {"9101": self.ports["SCHEDULER__METRICS_PORT"], "9102": self.ports["WORKER__METRICS_PORT"]}
        argv = [str(ports.get(word, word)) for word in argv]
        deadline = time.monotonic() + PATIENCE_S
        while self.place(name).run(argv).returncode != 0:
            running = self.running[name]
            if running.process.poll() is not None or time.monotonic() > deadline:
                raise Problem(f"{name} does not get healthy:\n{running.log.read_text()[-4000:]}")
            time.sleep(0.5)

    def end(self) -> None:
        """Whatever still runs."""
        for running in self.running.values():
            running.end()


def check(builder: Builder) -> None:
    """Renders a video with the made images, then stops them."""
    fleet = Fleet(builder)
    try:
        done = fleet.place("backend").run([*fleet.images["backend"].entry, *fleet.services["migrate"]["command"]])
        expect(done.returncode == 0, f"the service migrate:\n{done.stdout}")
        for name in TARGETS:
            fleet.start(name)
        for name in TARGETS:
            fleet.healthy(name)
        say("all three are healthy")
        base = f"http://127.0.0.1:{fleet.ports['SERVER__PORT']}"
        _a_video_is_made(base)
        commands.check(fleet.place, fleet.ports["SERVER__PORT"], fleet.ports["SCHEDULER__METRICS_PORT"], fleet.home)
        # The last of those commands emptied the cache.
        _a_video_is_made(base)
        _the_root_is_read_only(fleet)
        for name, running in fleet.running.items():
            grace = _seconds(fleet.services[name]["stop_grace_period"])
            equal(running.terminate(grace), 0, f"{name}: exit status after SIGTERM, within {grace:.0f} s")
    finally:
        fleet.end()


def _a_video_is_made(base: str) -> None:
    body = json.dumps({"prompt": "a large red ball moves to the right on the snow", "quality_tier": "preview", "seed": 7}).encode()
    request = urllib.request.Request(f"{base}/api/generate", body, {"content-type": "application/json"})
    job = _get_json(request)["job_id"]
    deadline = time.monotonic() + PATIENCE_S
    while (found := _get_json(f"{base}/api/jobs/{job}"))["status"] not in ("completed", "failed", "cancelled"):
        if time.monotonic() > deadline:
            raise Problem(f"the job does not end: {found}")
        time.sleep(0.5)
    equal(found["status"], "completed", f"the job: {found}")
    with urllib.request.urlopen(f"{base}/api/videos/{job}", timeout=30) as answer:
        video = answer.read()
    expect(video[4:8] == b"ftyp" and len(video) > 1000, f"the video is no MP4: {len(video)} bytes, {video[:12]!r}")
    with urllib.request.urlopen(f"{base}/", timeout=30) as answer:
        expect(b"<html" in answer.read().lower(), "the page is not served")
    say(f"rendered a video of {len(video)} bytes")


def _the_root_is_read_only(fleet: Fleet) -> None:
    """And our processes are nobody there."""
    for name in TARGETS:
        tried = fleet.place(name).run(["touch", "/opt/fleet/written"])
        expect("Read-only file system" in tried.stdout, f"{name}: the root can be written: {tried.stdout}")
        equal(fleet.place(name).run(["id", "-u"]).stdout.strip(), "10001", f"{name}: user")


def sizes(builder: Builder) -> dict[str, int]:
    """Megabytes of each made image, unpacked."""
    found = {}
    for target in sorted(dockerfile.TARGETS & builder.images.keys()):
        image: Image = builder.images[target]
        total = sum(path.lstat().st_size for path in image.root.rglob("*") if not path.is_symlink() and path.is_file())
        found[target] = total // 1_000_000
    return found


def _get_json(request: str | urllib.request.Request) -> dict:
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def _seconds(text: str) -> float:
    """Compose's durations: 20s, 1m0s."""
    minutes, _, rest = text.partition("m") if "m" in text else ("0", "", text)
    return float(minutes) * 60 + float(rest.rstrip("s") or 0)
