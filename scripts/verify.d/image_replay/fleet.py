"""The made images as a fleet: started as docker-compose.yml specifies, on the services beside us."""

import os

from deploy_checks import compose, dockerfile
from deploy_checks.report import equal, expect
from fleet_stack.console import say
from fleet_stack.fleet import Fleet, require, until
from fleet_stack.process import last_lines

from . import commands
from .sandbox import Place, Running
from .images import Builder

# What Compose starts, in its order -> target of the Dockerfile.
TARGETS = {"backend": "api", "scheduler": "scheduler", "worker": "worker-cpu"}
# The name of each port in our settings -> the port inside a container.
PORTS = {"api": "SERVER__PORT", "metrics": "SERVER__METRICS_PORT", "scheduler": "SCHEDULER__METRICS_PORT", "worker": "WORKER__METRICS_PORT"}
INSIDE = {"9101": "scheduler", "9102": "worker"}


class Containers:
    """Three containers, played by three places."""

    def __init__(self, builder: Builder, fleet: Fleet) -> None:
        self.fleet = fleet
        self.services = compose.configuration()["services"]
        self.images = {name: builder.image(target) for name, target in TARGETS.items()}
        self.videos = fleet.folder / "videos"
        self.videos.mkdir()
        fleet.folder.chmod(0o755)
        # A named volume takes its owner from the image's folder.
        owner = (self.images["worker"].root / "var/lib/fleet/artifacts").stat()
        os.chown(self.videos, owner.st_uid, owner.st_gid)
        self.running: dict[str, Running] = {}

    def place(self, name: str) -> Place:
        """Where a service of the compose file runs."""
        image, service = self.images[name], self.services[name]
        place = image.place()
        place.read_only = service["read_only"]
        # Names are not resolved inside; everything is on the loopback address.
        addresses = {key: value for key, value in self.fleet.variables.items() if key.startswith(("REDIS_", "FLEET__DATABASE", "FLEET__BROKER", "FLEET__REDIS"))}
        place.variables |= service["environment"] | addresses
        place.variables |= {f"FLEET__{setting}": str(self.fleet.ports.get(port)) for port, setting in PORTS.items()}
        place.binds = [(self.videos, "/var/lib/fleet/artifacts", False)]
        return place

    def start(self, name: str) -> None:
        """As `docker compose up` would."""
        argv = [*self.images[name].entry, *(self.services[name].get("command") or self.images[name].command)]
        self.running[name] = self.place(name).start(argv, self.fleet.folder / f"{name}.log")

    def until_healthy(self, name: str) -> None:
        """Runs the very health check until it succeeds."""
        kind, *argv = self.services[name]["healthcheck"]["test"]
        equal(kind, "CMD", f"{name}: kind of health check")
        argv = [str(self.fleet.ports.get(INSIDE[word])) if word in INSIDE else word for word in argv]

        def look() -> bool:
            running = self.running[name]
            require(running.poll() is None, f"{name} runs. Its log ends:\n{last_lines(running.log)}")
            return self.place(name).run(argv).returncode == 0

        until(f"{name} is healthy", look)


def check(builder: Builder) -> None:
    """Renders a video with the made images, then stops them."""
    with Fleet("images") as fleet:
        containers = Containers(builder, fleet)
        try:
            done = containers.place("backend").run([*containers.images["backend"].entry, *containers.services["migrate"]["command"]])
            expect(done.returncode == 0, f"the service migrate:\n{done.stdout}")
            for name in TARGETS:
                containers.start(name)
            for name in TARGETS:
                containers.until_healthy(name)
            say("all three are healthy")
            _a_video_is_made(fleet)
            commands.check(containers.place, fleet)
            # The last of those commands emptied the cache.
            _a_video_is_made(fleet)
            _the_root_is_read_only(containers)
            for name, running in containers.running.items():
                grace = _seconds(containers.services[name]["stop_grace_period"])
                equal(running.stop(grace), 0, f"{name}: exit status after SIGTERM, within {grace:.0f} s")
        finally:
            for running in containers.running.values():
                running.end()


def _a_video_is_made(fleet: Fleet) -> None:
    job = fleet.submit(infer_steps=0, quality_tier="preview", seed=7)
    fleet.until_status(job)
    made = fleet.video(job)
    expect(b"<html" in fleet.fetch("/").lower(), "the page is not served")
    say(f"rendered a video of {len(made)} bytes")


def _the_root_is_read_only(containers: Containers) -> None:
    """Our processes run there as an unprivileged user."""
    for name in TARGETS:
        tried = containers.place(name).run(["touch", "/opt/fleet/written"])
        expect("Read-only file system" in tried.stdout, f"{name}: the root can be written: {tried.stdout}")
        equal(containers.place(name).run(["id", "-u"]).stdout.strip(), "10001", f"{name}: user")


def sizes(builder: Builder) -> dict[str, int]:
    """Megabytes of each made image, unpacked."""
    found = {}
    for target in sorted(dockerfile.TARGETS & builder.images.keys()):
        files = (path for path in builder.images[target].root.rglob("*") if path.is_file() and not path.is_symlink())
        found[target] = sum(path.lstat().st_size for path in files) // 1_000_000
    return found


def _seconds(text: str) -> float:
    """Compose's durations: 20s, 1m0s."""
    minutes, _, rest = text.partition("m") if "m" in text else ("0", "", text)
    return float(minutes) * 60 + float(rest.rstrip("s") or 0)
