"""docker-compose.yml and .env.example, read by the real Compose."""

import json
import os
import re
import tempfile
from pathlib import Path

from fleet_stack.console import output
from fleet_stack.paths import ROOT

from . import tools
from .report import equal, expect, refuses, succeeds

FILE = ROOT / "docker-compose.yml"
EXAMPLE = ROOT / ".env.example"
# Every variable with another value than its default.
CHANGED = {
    "COMPOSE_PROFILES": "gpu", "GPU": "1", "MODEL_DIR": "/data/hunyuanvideo", "DEFAULT_MODEL": "hunyuan-video",
    "CPU_WORKERS": "0", "CPU_WORKER_CORES": "4", "ENABLE_CACHE": "false", "ENABLE_ADAPTIVE_STEPS": "false",
    "REDIS_HOST": "cache.internal", "REDIS_PORT": "6380", "API_ADDRESS": "0.0.0.0", "API_PORT": "8080",
    "PROMETHEUS_PORT": "9091", "GRAFANA_PORT": "3001", "POSTGRES_PASSWORD": "p1", "RABBITMQ_PASSWORD": "p2",
    "GRAFANA_PASSWORD": "p3", "ARTIFACTS_URL": "s3://bucket/videos", "S3_ENDPOINT": "https://s3.internal",
    "S3_REGION": "eu-1", "S3_ACCESS_KEY_ID": "id", "S3_SECRET_ACCESS_KEY": "secret", "GPU_HOUR_USD": "3.5",
    "LOG_LEVEL": "debug", "LOG_FORMAT": "json", "OTLP_ENDPOINT": "http://127.0.0.1:9", "OTLP_HEADERS": "authorization=Bearer%20token",
}
OURS = ("migrate", "backend", "scheduler", "worker", "worker-gpu")


def check() -> None:
    """Everything about the compose file."""
    _parses()
    _variables_are_explained()
    default, gpu = configuration(), configuration(profiles=["gpu"])
    _redis_is_as_promised(default)
    _names_are_as_promised(default)
    _default_needs_no_gpu(default, gpu)
    _only_loopback_is_published(gpu)
    _containers_are_confined(gpu)
    _changes_arrive()


def configuration(profiles: list[str] | None = None, variables: dict[str, str] | None = None) -> dict:
    """What Compose makes of the file."""
    command, env = _config(profiles or [], variables or {})
    return json.loads(output([*command, "--format", "json"], env=env, cwd=ROOT))


def process_environments() -> dict[str, dict[str, str]]:
    """Each of our containers, by default and with everything changed -> its variables."""
    found = {}
    for label, variables in (("default", {}), ("changed", CHANGED)):
        services = configuration(["gpu"], variables)["services"]
        found |= {f"docker-compose.yml, {name} ({label})": services[name]["environment"] for name in OURS}
    return found


def _config(profiles: list[str], variables: dict[str, str], file: Path = FILE, env_file: Path = Path("/dev/null")) -> tuple[list[str], dict[str, str]]:
    """The command `docker compose config` and its environment. A developer's own .env must not decide what is checked."""
    chosen = [word for profile in profiles for word in ("--profile", profile)]
    command = [str(tools.compose()), "--env-file", str(env_file), "-f", str(file), *chosen, "config"]
    return command, {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **variables}


def _parses() -> None:
    for profiles, variables in (([], {}), (["cpu"], {}), (["gpu"], {}), (["cpu", "gpu"], {}), ([], CHANGED)):
        command, env = _config(profiles, variables)
        succeeds([*command, "-q"], f"docker-compose config, profiles {profiles}, {len(variables)} variables changed", env=env)
    with tempfile.TemporaryDirectory() as folder:
        wrong = Path(folder) / "compose.yml"
        wrong.write_text(FILE.read_text().replace("    container_name: hunyuan-api\n", "    contaner_name: hunyuan-api\n"))
        command, env = _config([], {}, wrong)
        refuses([*command, "-q"], "contaner_name", "Compose and a misspelt key", env=env)


def _variables_are_explained() -> None:
    used = set(re.findall(r"\$\{([A-Z0-9_]+)", FILE.read_text()))
    explained = set(re.findall(r"^#?([A-Z0-9_]+)=", EXAMPLE.read_text(), re.M))
    # Set by scripts that build images for a registry, not by people who run the fleet.
    used -= {"FLEET_TAG"}
    equal(used - explained, set(), "variables of docker-compose.yml that .env.example does not explain")
    equal(explained - used, {"COMPOSE_PROFILES"}, "variables of .env.example that docker-compose.yml does not use")
    equal(set(CHANGED), explained, "variables that this check changes")
    # A copy of the example must change nothing.
    plain, copied = (output(command, env=env, cwd=ROOT) for command, env in (_config([], {}), _config([], {}, env_file=EXAMPLE)))
    equal(copied, plain, "docker-compose config with .env.example as .env")
    shown = dict(re.findall(r"^#([A-Z0-9_]+)=(.*)$", EXAMPLE.read_text(), re.M))
    defaults = dict(re.findall(r"\$\{([A-Z0-9_]+):-([^}]*)\}", FILE.read_text()))
    differing = {name: (shown[name], value) for name, value in defaults.items() if name in shown and shown[name] != value}
    # Examples of values where the default is "nothing", and the address that turns keys on.
    for name in ("MODEL_DIR", "DEFAULT_MODEL", "API_ADDRESS", "ARTIFACTS_URL"):
        differing.pop(name, None)
    equal(differing, {}, "defaults that .env.example shows differently")


def _redis_is_as_promised(config: dict) -> None:
    redis = config["services"]["redis"]
    equal(redis["container_name"], "hunyuan-cache", "redis.container_name")
    equal(redis["image"].partition("@")[0], "redis:7-alpine", "redis.image")
    words = redis["command"] if isinstance(redis["command"], list) else redis["command"].split()
    wanted = ["redis-server", "--maxmemory", "2gb", "--maxmemory-policy", "allkeys-lru", "--appendonly", "yes"]
    equal(words, wanted, "redis.command")
    equal([(v["type"], v["source"], v["target"]) for v in redis["volumes"]], [("volume", "redis-data", "/data")], "redis.volumes")
    equal(list(redis["networks"]), ["hunyuan-net"], "redis.networks")
    equal(config["networks"]["hunyuan-net"]["name"], "hunyuan-net", "the network's name")


def _names_are_as_promised(config: dict) -> None:
    services = config["services"]
    equal(services["backend"]["container_name"], "hunyuan-api", "backend.container_name")
    environment = services["backend"]["environment"]
    shown = {name for name in environment if re.search("REDIS|CACHE", name)}
    equal(shown, {"REDIS_HOST", "REDIS_PORT", "ENABLE_CACHE"}, 'what `docker exec hunyuan-api env | grep -E "REDIS|CACHE"` shows')
    equal({name for name, service in services.items() if "container_name" in service}, {"redis", "backend"},
          "services with a container name, which cannot be scaled")
    for name, service in services.items():
        image = service["image"].rpartition("/")[2]
        expect(":" in image and not image.endswith(":latest"), f"{name}: the image {service['image']} names no version")


def _default_needs_no_gpu(default: dict, gpu: dict) -> None:
    expect("worker" in default["services"], "without a profile no worker starts")
    expect("worker-gpu" not in default["services"], "without a profile a GPU is asked for")
    devices = gpu["services"]["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    equal([(d["driver"], d["capabilities"]) for d in devices], [("nvidia", ["gpu"])], "the GPU of worker-gpu")
    equal(gpu["services"]["worker-gpu"]["networks"]["hunyuan-net"]["aliases"], ["worker"], "the name under which Prometheus finds it")


def _only_loopback_is_published(config: dict) -> None:
    published = {(name, port["target"], port["host_ip"]) for name, service in config["services"].items() for port in service.get("ports", [])}
    wanted = {("backend", 8000, "127.0.0.1"), ("prometheus", 9090, "127.0.0.1"), ("grafana", 3000, "127.0.0.1")}
    equal(published, wanted, "published ports")


def _containers_are_confined(config: dict) -> None:
    for name, service in config["services"].items():
        expect("healthcheck" in service or name == "migrate", f"{name} has no health check")
        expect("restart" in service, f"{name} has no restart policy")
        if name in OURS:
            expect(service.get("read_only") is True, f"{name}: the root file system can be written")
            equal(service.get("cap_drop"), ["ALL"], f"{name}.cap_drop")
            expect("pids_limit" in service or name == "migrate", f"{name} has no limit of processes")
        # The GPU worker's memory is the model's own affair.
        expect("mem_limit" in service or name == "worker-gpu", f"{name} has no limit of memory")


def _changes_arrive() -> None:
    config = configuration(["gpu"], CHANGED)
    services = config["services"]
    address = [(port["host_ip"], port["published"]) for port in services["backend"]["ports"]]
    equal(address, [("0.0.0.0", "8080")], "the API's address with API_ADDRESS and API_PORT")
    for name in OURS:
        equal(services[name]["environment"]["FLEET_ENV"], "compose-public", f"{name}: settings when the API is published")
        equal(services[name]["environment"]["FLEET__MODELS__DIRS"], "models/default,/models/mounted", f"{name}: model folders")
    for name in ("backend", "scheduler", "worker-gpu"):
        mounted = [(v["source"], v["read_only"]) for v in services[name]["volumes"] if v["target"] == "/models/mounted"]
        equal(mounted, [("/data/hunyuanvideo", True)], f"{name}: the mounted model")
    text = json.dumps(config)
    for name, value in CHANGED.items():
        expect(value in text or name == "COMPOSE_PROFILES", f"{name}={value} changes nothing in docker-compose.yml")
