"""A private RabbitMQ with its own Erlang port mapper, all on the loopback address.

The distribution's wrappers change the user and drop the environment, so the scripts below them are called. The node's
name never changes, because its data are stored under it; a separate port mapper isolates it from other nodes.
"""

from pathlib import Path

from . import debs, tools
from .paths import write_whole
from .ports import Ports, is_free, reply
from .postgres import remembered_secret
from .process import Spec

USER = "fleet"
NODE = "fleet@localhost"


def mapper_spec(folder: Path, ports: Ports) -> Spec:
    """Erlang's port mapper: so the node does not start its own, which would outlive it."""
    port = ports.ensure_free("epmd")
    argv = [str(tools.need("epmd")), "-port", str(port), "-address", "127.0.0.1"]
    home = folder / "rabbitmq"
    home.mkdir(parents=True, exist_ok=True)
    log = folder / "logs/epmd.log"
    return Spec("epmd", argv, tools.service_env(home), home, log, lambda: not is_free(port), stop_patience_s=2)


def spec(folder: Path, ports: Ports) -> Spec:
    """Writes the node's configuration and returns how to run it."""
    home = folder / "rabbitmq"
    home.mkdir(parents=True, exist_ok=True)
    remembered_secret(home / ".erlang.cookie")
    for name in ("rabbitmq", "rabbitmq_management", "rabbitmq_prometheus", "rabbitmq_distribution"):
        ports.ensure_free(name)
    write_whole(home / "rabbitmq.conf", _configuration(folder, ports), mode=0o600)
    (home / "enabled_plugins").write_text("[rabbitmq_management,rabbitmq_prometheus].\n")
    (home / "advanced.config").write_text("[{kernel,[{inet_dist_use_interface,{127,0,0,1}}]}].\n")
    port = ports.get("rabbitmq")
    return Spec(
        "rabbitmq", [str(tools.need("rabbitmq-server"))], _environment(home, ports), home, folder / "logs/rabbitmq.log",
        lambda: is_ready(port), stop_patience_s=20, start_patience_s=120,
    )


def is_ready(port: int) -> bool:
    """Whether it begins the AMQP handshake; the port opens earlier."""
    return reply(port, b"AMQP\x00\x00\x09\x01").startswith(b"\x01")


def url(folder: Path, ports: Ports, vhost: str = "%2f") -> str:
    """The AMQP address that a client uses."""
    return f"amqp://{USER}:{_password(folder)}@127.0.0.1:{ports.get('rabbitmq')}/{vhost}"


def management_url(folder: Path, ports: Ports) -> str:
    """The HTTP address for set-up and inspection."""
    return f"http://{USER}:{_password(folder)}@127.0.0.1:{ports.get('rabbitmq_management')}"


def _password(folder: Path) -> str:
    return remembered_secret(folder / "rabbitmq.secret")


def _configuration(folder: Path, ports: Ports) -> str:
    return f"""# Written at each start.
listeners.tcp.default = 127.0.0.1:{ports.get("rabbitmq")}
management.tcp.ip = 127.0.0.1
management.tcp.port = {ports.get("rabbitmq_management")}
prometheus.tcp.ip = 127.0.0.1
prometheus.tcp.port = {ports.get("rabbitmq_prometheus")}
default_user = {USER}
default_pass = {_password(folder)}
default_user_tags.administrator = true
loopback_users = none
log.console = true
log.console.level = info
log.file = false
# How often queues report what they hold, milliseconds: tests and people wait for it.
collect_statistics_interval = 1000
disk_free_limit.absolute = 200MB
vm_memory_high_watermark.relative = 0.4
"""


def _environment(home: Path, ports: Ports) -> dict[str, str]:
    env = tools.service_env(home)
    erlang = debs.PREFIX / "usr/lib/erlang"
    if erlang.exists():
        env["ERL_ROOTDIR"] = str(erlang)
        env["PATH"] = f"{erlang}/bin:{env['PATH']}"
    env.update(
        # Makes the start script become the node instead of staying its parent.
        RUNNING_UNDER_SYSTEMD="true",
        RABBITMQ_CONF_ENV_FILE="/dev/null",
        RABBITMQ_NODENAME=NODE,
        RABBITMQ_NODE_IP_ADDRESS="127.0.0.1",
        RABBITMQ_NODE_PORT=str(ports.get("rabbitmq")),
        RABBITMQ_DIST_PORT=str(ports.get("rabbitmq_distribution")),
        RABBITMQ_MNESIA_BASE=str(home / "mnesia"),
        RABBITMQ_LOG_BASE=str(home / "log"),
        RABBITMQ_ENABLED_PLUGINS_FILE=str(home / "enabled_plugins"),
        RABBITMQ_CONFIG_FILE=str(home / "rabbitmq.conf"),
        RABBITMQ_ADVANCED_CONFIG_FILE=str(home / "advanced.config"),
        RABBITMQ_GENERATED_CONFIG_DIR=str(home / "generated"),
        ERL_EPMD_PORT=str(ports.get("epmd")),
        ERL_EPMD_ADDRESS="127.0.0.1",
    )
    return env
