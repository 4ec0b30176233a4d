"""The chart in helm/: rendered by the real Helm, judged by schemas and by what its parts must agree on."""

import json
import shutil
from collections.abc import Iterator
from functools import cache
import tempfile
from pathlib import Path

from fleet_stack.console import Problem, output
from fleet_stack.paths import ROOT
from fleet_stack.tools import node_folder

from . import tools
from .report import equal, expect, refuses, succeeds

CHART = ROOT / "helm"
# Sets of values -> files; "default" is none.
CASES = {"default": None, **{path.stem: path for path in sorted((CHART / "ci").glob("*.yaml"))}}
# Copies in the chart, which can hold nothing from outside itself.
COPIES = {"files/rules": ROOT / "monitoring/prometheus/rules", "files/dashboards": ROOT / "monitoring/grafana/dashboards"}
# Mistakes that must not reach a cluster, and part of Helm's message for each.
MISTAKES = {
    "workers.cpu.gpu=1": "additional properties 'gpu' not allowed",
    "api.replicas=none": "want integer",
    "models.other.embedded=false": "models",
    "database.url=mysql://host/fleet": "does not match pattern",
    "trial.postgres.enabled=false": "Postgres: set database.url",
    "trial.rabbitmq.enabled=false": "RabbitMQ: set broker.url",
    "trial.redis.enabled=false": "Redis: set redis.host",
    "defaultModel=other": "not among models",
    "workers.cpu.model=other": "not among models",
}
OURS = ("api", "first-key", "migrate", "scheduler", "worker")

# Where a pod names another object: key -> kind of the object, and where its name is.
REFERENCES = {
    **dict.fromkeys(("configMap", "configMapRef", "configMapKeyRef"), ("ConfigMap", "name")),
    **dict.fromkeys(("secretKeyRef", "secretRef"), ("Secret", "name")),
    "persistentVolumeClaim": ("PersistentVolumeClaim", "claimName"),
}

Object = dict


def check() -> None:
    """Everything about the chart."""
    for name, objects in rendered().items():
        _parts_agree(name, objects)
    _switches_switch()
    for setting, because in MISTAKES.items():
        refuses([tools.helm(), "template", "fleet", CHART, "--set", setting], because, f"helm template --set {setting}")
    _judges_judge()
    _package_is_whole()


@cache
def rendered() -> dict[str, list[Object]]:
    """What Helm makes of each set of values, found valid for the oldest and the newest Kubernetes."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{name}.yaml" for name in CASES}
        for name, values in CASES.items():
            chosen = ["-f", values] if values else []
            succeeds([tools.helm(), "lint", "--strict", CHART, *chosen], f"helm lint with {name}")
            command = [tools.helm(), "template", "fleet", CHART, "-n", "video", *chosen]
            files[name].write_text(succeeds(command, f"helm template with {name}").stdout)
        for version, schemas in tools.schemas().items():
            for name, (errors, objects) in judged(schemas, files).items():
                equal(errors, [], f"manifests with {name} for Kubernetes {version}")
                found[name] = objects
    return found


def judged(schemas: Path, files: dict[str, Path]) -> dict[str, tuple[list[str], list[Object]]]:
    """Errors and objects of each file."""
    found = json.loads(output([node_folder() / "node", "validate.mjs", schemas, *files.values()], cwd=tools.HERE))
    return {name: (found[str(file)]["errors"], found[str(file)]["objects"]) for name, file in files.items()}


def process_environments() -> dict[str, dict[str, str]]:
    """Each of our containers in each set of values -> its variables."""
    found = {}
    for name, objects in rendered().items():
        ours = [(owner, container) for owner, container in containers(objects) if container["name"] in OURS]
        found |= {f"helm/, {name}, {owner}": _variables(objects, container) for owner, container in ours}
    return found


def work_queries() -> dict[str, str]:
    """Each ScaledObject's query."""
    scaled = [(name, found) for name, objects in rendered().items() for found in of_kind(objects, "ScaledObject")]
    return {f"{name}, {one['metadata']['name']}": trigger["metadata"]["query"] for name, one in scaled for trigger in one["spec"]["triggers"]}


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    """The objects of one kind."""
    return [found for found in objects if found["kind"] == kind]


def templates(objects: list[Object]) -> dict[str, Object]:
    """Name of each workload -> its pods' metadata and spec."""
    workloads = [found for found in objects if found["kind"] in ("Deployment", "StatefulSet", "Job")]
    return {f"{w['kind']} {w['metadata']['name']}": w["spec"]["template"] for w in workloads}


def containers(objects: list[Object]) -> list[tuple[str, Object]]:
    """Every container, with its workload's name."""
    pods = {name: template["spec"] for name, template in templates(objects).items()}
    return [(name, one) for name, spec in pods.items() for one in [*spec.get("initContainers", []), *spec["containers"]]]


def _variables(objects: list[Object], container: Object) -> dict[str, str]:
    found: dict[str, str] = {}
    maps = {one["metadata"]["name"]: one["data"] for one in of_kind(objects, "ConfigMap")}
    for source in container.get("envFrom", []):
        found |= maps[source["configMapRef"]["name"]]
    secret = {"FLEET__DATABASE__URL": "postgres://fleet@db:5432/fleet", "FLEET__BROKER__URL": "amqp://fleet@mq:5672"}
    for variable in container.get("env", []):
        found[variable["name"]] = variable.get("value", secret.get(variable["name"], "text"))
    return found


def _parts_agree(name: str, objects: list[Object]) -> None:
    pods = templates(objects)
    labels = {owner: template["metadata"]["labels"] for owner, template in pods.items()}
    ports = {owner: {port["name"] for c in template["spec"]["containers"] for port in c.get("ports", [])} for owner, template in pods.items()}

    def chosen(selector: dict[str, str]) -> list[str]:
        return [owner for owner, own in labels.items() if selector.items() <= own.items()]

    for service in of_kind(objects, "Service"):
        owners = chosen(service["spec"]["selector"])
        equal(len(owners), 1, f"{name}: workloads behind the service {service['metadata']['name']}")
        for port in service["spec"]["ports"]:
            wanted = port.get("targetPort", port["name"])
            expect(all(wanted in ports[owner] for owner in owners), f"{name}: {owners} have no port {wanted}")
    for budget in of_kind(objects, "PodDisruptionBudget"):
        equal(len(chosen(budget["spec"]["selector"]["matchLabels"])), 1, f"{name}: workloads of the budget {budget['metadata']['name']}")
    for monitor in of_kind(objects, "PodMonitor"):
        owners = chosen(monitor["spec"]["selector"]["matchLabels"])
        expect(owners != [], f"{name}: the monitor {monitor['metadata']['name']} finds no pods")
        for end in monitor["spec"]["podMetricsEndpoints"]:
            expect(all(end["port"] in ports[owner] for owner in owners), f"{name}: {owners} have no port {end['port']}")
    for monitor in of_kind(objects, "ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"]
        found = [s for s in of_kind(objects, "Service") if wanted.items() <= s["metadata"]["labels"].items()]
        equal(len(found), 1, f"{name}: services of the monitor {monitor['metadata']['name']}")
    _references_lead_somewhere(name, objects)
    _scaling_owns_the_number_of_pods(name, objects)
    _containers_are_confined(name, objects)


def _references_lead_somewhere(name: str, objects: list[Object]) -> None:
    there = {(found["kind"], found["metadata"]["name"]) for found in objects}
    # What values name as their own.
    given = {"fleet-postgres", "fleet-rabbitmq", "fleet-redis", "fleet-s3", "kube-root-ca.crt", "checkpoints"}
    for owner, template in templates(objects).items():
        for kind, wanted in _references(template["spec"]):
            expect((kind, wanted) in there or wanted in given, f"{name}: {owner} refers to the {kind} {wanted}, which does not exist")


def _references(part: object) -> Iterator[tuple[str, str]]:
    """Every ConfigMap, Secret and claim that a pod names, at any depth."""
    if isinstance(part, list):
        part = dict(enumerate(part))
    for key, value in part.items() if isinstance(part, dict) else ():
        if key in REFERENCES:
            kind, name = REFERENCES[key]
            yield kind, value[name]
        else:
            yield from _references(value)


def _scaling_owns_the_number_of_pods(name: str, objects: list[Object]) -> None:
    deployments = {found["metadata"]["name"]: found for found in of_kind(objects, "Deployment")}
    scaled = {found["spec"]["scaleTargetRef"]["name"] for found in of_kind(objects, "ScaledObject")}
    for deployment, found in deployments.items():
        equal("replicas" in found["spec"], deployment not in scaled, f"{name}: {deployment} states its number of pods")
    equal(scaled - set(deployments), set(), f"{name}: scaled deployments that do not exist")
    doors = {found["metadata"]["name"] for found in of_kind(objects, "TriggerAuthentication")}
    for one in of_kind(objects, "ScaledObject"):
        wanted = {trigger["authenticationRef"]["name"] for trigger in one["spec"]["triggers"]}
        expect(wanted <= doors, f"{name}: {one['metadata']['name']} has no database credentials")


def _containers_are_confined(name: str, objects: list[Object]) -> None:
    for owner, template in templates(objects).items():
        expect(template["spec"]["securityContext"]["runAsNonRoot"] is True, f"{name}: {owner} may run as root")
        expect(template["spec"]["automountServiceAccountToken"] is False, f"{name}: {owner} gets a token of the cluster")
        equal(template["spec"]["enableServiceLinks"], False, f"{name}: {owner}.enableServiceLinks")
    for owner, container in containers(objects):
        where = f"{name}: {owner}, {container['name']}"
        equal(container["securityContext"]["capabilities"], {"drop": ["ALL"]}, f"{where}: capabilities")
        expect("requests" in container["resources"], f"{where} asks for no resources")
        expect(not container["image"].endswith(":latest") and ":" in container["image"], f"{where}: image without a version")
        if container["name"] in ("api", "scheduler", "worker"):
            equal(container["securityContext"]["readOnlyRootFilesystem"], True, f"{where}: root file system")
            expect({"livenessProbe", "readinessProbe"} <= container.keys(), f"{where} is not probed")
            drain = int(_variables(objects, container).get("FLEET__WORKER__DRAIN_S", 10))
            grace = templates(objects)[owner]["spec"]["terminationGracePeriodSeconds"]
            expect(grace >= drain + 10, f"{where}: a grace period of {grace} s for a drain of {drain} s")
        if container["name"] == "worker":
            (limit,) = (one["emptyDir"]["sizeLimit"] for one in templates(objects)[owner]["spec"]["volumes"] if one["name"] == "tmp")
            cache = int(_variables(objects, container).get("FLEET__WORKER__LORA_CACHE_BYTES", 20 << 30))
            expect(cache < int(limit.removesuffix("Gi")) << 30, f"{where}: adapters may fill the scratch folder of {limit}")


def _switches_switch() -> None:
    kinds = {name: {found["kind"] for found in objects} for name, objects in rendered().items()}
    switched = {
        "Ingress", "NetworkPolicy", "ServiceMonitor", "PodMonitor", "PrometheusRule", "ScaledObject", "TriggerAuthentication",
        "Role", "RoleBinding", "StatefulSet", "PersistentVolumeClaim", "PodDisruptionBudget",
    }
    equal(switched - kinds["everything"], set(), "kinds that are missing with everything on")
    equal(switched & kinds["nothing"], set(), "kinds that exist with everything off")
    worker = next(c for owner, c in containers(rendered()["gpu"]) if owner.endswith("worker-h100"))
    equal(worker["resources"]["limits"].get("nvidia.com/gpu"), 1, "GPUs of a worker's pod")
    spec = templates(rendered()["gpu"])["Deployment fleet-hunyuan-fleet-worker-h100"]["spec"]
    taints = {one["key"] for one in spec["tolerations"]}
    equal(taints, {"nvidia.com/gpu"}, "taints that a GPU pool bears")
    mounted = {(mount["name"], mount["mountPath"], mount.get("readOnly")) for mount in worker["volumeMounts"]}
    expect(("model", "/models/hunyuan-video", True) in mounted, "the checkpoint is not mounted, read-only")
    hooks = {found["metadata"]["name"]: found["metadata"].get("annotations", {}).get("helm.sh/hook") for found in of_kind(rendered()["gpu"], "Job")}
    equal(hooks.get("fleet-hunyuan-fleet-migrate"), "pre-install,pre-upgrade", "when the migration runs")


def _judges_judge() -> None:
    """The schemas must reject invalid objects: a check that accepts everything proves nothing."""
    wrong = {
        "containerz": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n  selector: {matchLabels: {a: b}}\n"
        "  template:\n    metadata: {labels: {a: b}}\n    spec: {containers: [{name: a, image: a:1}], containerz: []}\n",
        "metadata": "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: a}\nspec:\n  scaleTargetRef: {name: a}\n"
        "  triggers: [{type: postgresql, metadata: {targetQueryValue: 1}}]\n",
        "selector": "apiVersion: monitoring.coreos.com/v1\nkind: ServiceMonitor\nmetadata: {name: a}\nspec: {endpoints: []}\n",
        "Deploiment": "apiVersion: apps/v1\nkind: Deploiment\nmetadata: {name: a}\n",
    }
    schemas = tools.schemas()[tools.KUBERNETES[-1]]
    with tempfile.TemporaryDirectory() as folder:
        files = {word: Path(folder) / f"{number}.yaml" for number, word in enumerate(wrong)}
        for word, file in files.items():
            file.write_text(wrong[word])
        for word, (errors, _) in judged(schemas, files).items():
            expect(any(word in error for error in errors), f"the schemas let a wrong {word} pass: {errors}")


def write() -> None:
    """Updates what is copied or generated."""
    for copy, source in COPIES.items():
        shutil.rmtree(CHART / copy, ignore_errors=True)
        shutil.copytree(source, CHART / copy)
    generator = tools.HERE / "node_modules/@bitnami/readme-generator-for-helm/bin/index.js"
    what = "the comments of helm/values.yaml"
    if "ERROR" in (said := output([node_folder() / "node", generator, "-v", CHART / "values.yaml", "-r", CHART / "README.md"], what)):
        raise Problem(f"{what}: {said}")


def _package_is_whole() -> None:
    with tempfile.TemporaryDirectory() as folder:
        succeeds([tools.helm(), "package", CHART, "-d", folder], "helm package")
        (archive,) = Path(folder).glob("*.tgz")
        listed = output(["tar", "tzf", archive]).split()
        for wanted in ("values.schema.json", "files/deletion-cost.sh", "files/rules/alerts.yml", "templates/NOTES.txt"):
            expect(f"hunyuan-fleet/{wanted}" in listed, f"the packed chart lacks {wanted}")
        expect(not any("/ci/" in path for path in listed), "the packed chart holds the values of this check")
