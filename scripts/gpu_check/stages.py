"""The stages, which need no checkpoint: what each runs, how long it may take, and what counts as passed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from . import place

HERE = Path(__file__).resolve().parent
# The two sizes whose figures others publish, and the small ones.
SIZES = {False: ["960x544x129", "1280x720x129"], True: ["64x64x9", "96x64x9"]}
RESUMED = {False: "512x320x61", True: "64x64x9"}
ERROR_CHARACTERS = 600
# Files of a released checkpoint, as far as they differ from the defaults of the reference's classes. The vocabularies are the
# released ones, the tokenizers are the fixtures' small ones, which give ids below them.
RELEASED = {
    "transformer": {"_class_name": "HunyuanVideoTransformer3DModel"},
    "vae": {"_class_name": "AutoencoderKLHunyuanVideo"},
    "text_encoder": {
        "model_type": "llama", "vocab_size": 128_320, "hidden_size": 4096, "intermediate_size": 14_336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 500_000.0,
    },
    "text_encoder_2": {
        "vocab_size": 49_408, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
        "max_position_embeddings": 77, "eos_token_id": 633,
    },
}


@dataclass(frozen=True)
class Setting:
    """What all stages share."""

    device: str
    small: bool
    model: Path
    scratch: Path

    def card(self, *words: object) -> list[str]:
        """A command of the example program."""
        return [str(place.CARD), *map(str, words)]

    @property
    def sizes(self) -> list[str]:
        return SIZES[self.small]


Work = Callable[[Setting, float], Iterator[dict]]


@dataclass(frozen=True)
class Stage:
    """One stage; `work` yields its rows as they come."""

    number: int
    name: str
    deadline_s: int
    work: Work


def write_model(fixture: Path, folder: Path, *, small: bool) -> Path:
    """Writes a model folder with the fixture's tokenizers: its own configurations, or the released ones."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(fixture, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    for component, config in ({} if small else RELEASED).items():
        (folder / component / "config.json").write_text(json.dumps(config))
    return folder


def lines(argv: list[str], deadline: float, environment: dict[str, str]) -> Iterator[dict]:
    """Rows of a program, one JSON a line; a failure or the deadline becomes the last row."""
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL, text=True, env=environment, start_new_session=True
        )
        late = threading.Event()

        def stop() -> None:
            late.set()
            os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(max(deadline - time.monotonic(), 0), stop)
        timer.start()
        try:
            yield from (json.loads(line) for line in process.stdout if line.startswith("{"))
            process.wait()
        finally:
            timer.cancel()
        errors.seek(0)
        said = errors.read()
        warned = [line for line in said.splitlines() if "WARN" in line or "ERROR" in line]
        if late.is_set():
            yield {"item": argv[1], "ok": False, "error": "stopped at its deadline", "log": said[-ERROR_CHARACTERS:]}
        elif process.returncode:
            yield {"item": argv[1], "ok": False, "error": said.strip()[-ERROR_CHARACTERS:] or f"status {process.returncode}"}
        elif warned:
            yield {"item": "log", "lines": warned[-8:]}


def machine(setting: Setting, deadline: float) -> Iterator[dict]:
    missing = subprocess.run(["ldd", place.CARD], capture_output=True, text=True).stdout
    missing = [line.strip() for line in missing.splitlines() if "not found" in line]
    yield {"item": "libraries", "ok": not missing, "missing": missing}
    driver = Path("/proc/driver/nvidia/version")
    smi = shutil.which("nvidia-smi")
    asked = subprocess.run([smi, "-q", "-d", "CLOCK,MEMORY"], capture_output=True, text=True, timeout=20).stdout if smi else ""
    yield {"item": "system", "driver": driver.read_text().splitlines()[0] if driver.exists() else None, "nvidia_smi": asked[:2000]}
    for row in lines(setting.card("info"), deadline, place.environment()):
        if row["item"] == "machine" and setting.device != "cpu":
            row["ok"] = row["cuda_half_loaded"] and row["gpus_of_libtorch"] > 0 and row["compiler_after"] == "compiles"
        yield row
    yield from lines(setting.card("info", str(setting.model)), deadline, place.environment())


def start(setting: Setting, deadline: float) -> Iterator[dict]:
    """The worker's own start-up and one video, with NVIDIA's run-time compiler on the search path and without."""
    case = place.FIXTURES / "base"
    render = [str(place.WORKER), "render", "--model", str(case / "model"), "--prompt", "a cat", "--size", "32x32", "--frames", "5"]
    render += ["--steps", "3", "--device", setting.device, "--dump", str(setting.scratch / "start.safetensors")]
    plain = place.environment()
    ways = {
        "compiler found by the worker": plain,
        "compiler on the search path": place.environment(compiler=True),
        "cuDNN not preferred": plain | {"TORCH_CUDNN_SDPA_DEPRIORITIZED": "1"},
    }
    for name, environment in ways.items():
        began = time.monotonic()
        failed = next((row for row in lines(render, deadline, environment) if row.get("ok") is False), {"ok": True})
        yield failed | {"item": name, "seconds": round(time.monotonic() - began, 1)}


def agree(setting: Setting) -> list[list[str]]:
    folder = place.FIXTURES
    if setting.small:
        folder = setting.scratch / "fixtures"
        folder.mkdir()
        for name in ("base", "bf16"):
            (folder / name).symlink_to(place.FIXTURES / name)
    return [setting.card("agree", folder, setting.device)]


def beside(setting: Setting) -> list[list[str]]:
    """diffusers with the same sizes: another program on the same card."""
    argv = [sys.executable, str(HERE / "diffusers_speed.py"), setting.device, "small" if setting.small else "released"]
    return [[*argv, *(f"{size}x1" for size in setting.sizes)]]


def programs(commands: Callable[[Setting], list[list[str]]], **options: bool) -> Work:
    """A stage that consists of programs, which print its rows."""

    def work(setting: Setting, deadline: float) -> Iterator[dict]:
        for argv in commands(setting):
            yield from lines(argv, deadline, place.environment(**options))

    return work


# One program measures stages 5 to 7, so that the weights are drawn once; its rows go to the stage that they belong to.
STAGES = [
    Stage(0, "machine", 40, machine),
    Stage(1, "the worker starts", 90, start),
    Stage(2, "fixtures agree with the reference", 100, programs(agree)),
    Stage(3, "kernels", 60, programs(lambda s: [s.card("kernels", s.model, s.device, s.sizes[-1])])),
    Stage(4, "a resumed run has the same bits", 90, programs(lambda s: [s.card(word, s.model, s.device, RESUMED[s.small], s.scratch / "run") for word in ("resume", "resumed")])),
    Stage(5, "steps at the released size", 240, programs(lambda s: [s.card("speed", s.model, s.device, f"{s.sizes[0]}x3", f"{s.sizes[1]}x2")])),
    Stage(6, "a cancel and a drain in the middle of a step", 0, lambda *_: iter(())),
    Stage(7, "decoding", 0, lambda *_: iter(())),
    Stage(8, "diffusers", 130, programs(beside, compiler=True)),
]
ROUTES = {"stop": 6, "drain": 6, "decode": 7}


def run(chosen: list[int], out: Path, *, device: str, small: bool) -> list[dict]:
    """Runs the stages in turn; each result is in `out` as soon as there is one."""
    out.mkdir(parents=True, exist_ok=True)
    # The last two are rows of the fifth.
    chosen = sorted(set(chosen) | ({5, 6, 7} if {5, 6, 7} & set(chosen) else set()))
    results = {stage.number: {"stage": stage.number, "name": stage.name, "state": "failed", "rows": []} for stage in STAGES if stage.number in chosen}
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as scratch:
        model = write_model(place.FIXTURES / "base/model", Path(scratch) / "model", small=small)
        setting = Setting(device, small, model, Path(scratch))
        for stage in (stage for stage in STAGES if stage.number in chosen and stage.deadline_s):
            began = time.monotonic()
            try:
                for row in stage.work(setting, began + stage.deadline_s):
                    result = results[ROUTES.get(row["item"], stage.number)]
                    result["rows"].append(row)
                    judge(result, out)
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                results[stage.number]["rows"].append({"item": "stage", "ok": False, "error": repr(error)[:ERROR_CHARACTERS]})
            results[stage.number]["seconds"] = round(time.monotonic() - began, 1)
            judge(results[stage.number], out)
            print(f"stage {stage.number}, {stage.name}: {results[stage.number]['state']}, {results[stage.number]['seconds']} s", flush=True)
    for result in results.values():
        judge(result, out)
    return list(results.values())


def judge(result: dict, out: Path) -> None:
    """Passed: there are rows and none says otherwise. Writes the stage's file."""
    rows = result["rows"]
    if any(row.get("ok") is False for row in rows) or not rows:
        result["state"] = "failed"
    elif all("skipped" in row for row in rows):
        result["state"] = "skipped"
    else:
        result["state"] = "passed"
    (out / f"stage-{result['stage']}.json").write_text(json.dumps(result, indent=1) + "\n")
