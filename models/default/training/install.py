"""Installs the export of a training run as the embedded model: `scripts/train-default install FOLDER`. No torch here.

FOLDER holds what the run wrote, `model/` and `judgement.json`, and `shapes.txt`: what the judge of the shape scenes printed about
that model. Nothing changes unless the export is complete, can be loaded, and is at least as good as the installed model in every
property.
"""

import argparse
import json
import re
import shutil
import tempfile
from pathlib import Path

from fleet_stack.console import Problem, output, say
from fleet_stack.paths import ROOT, target_dir

from .config import PRESETS

TARGET = ROOT / "models/default"
BYTES_MAX = 32 * 2**20  # of the export's files together: they are part of the repository
FIGURES = "figures.json"
CONFIGS = (
    "model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json", "text_encoder_2/config.json",
    "transformer/config.json", "vae/config.json",
)  # fmt: skip
FILES = (
    *CONFIGS, "text_encoder/model.safetensors", "text_encoder_2/model.safetensors", "tokenizer/tokenizer.json",
    "tokenizer/tokenizer_config.json", "tokenizer_2/merges.txt", "tokenizer_2/tokenizer.json", "tokenizer_2/tokenizer_config.json",
    "tokenizer_2/vocab.json", "transformer/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors",
)  # fmt: skip
WRITTEN = ("latent_rgb.json", FIGURES, "fleet.toml")  # here, beside the files of the export
PREVIEW_VIDEOS = 12  # that the colours of previews are fitted to
TABLE = re.compile(r"\A(\d+ held-out scenes, .+)\n\|(.+)\| clips \|\n\|[-|]+\n\|(.+)\| \d+ \|\Z")  # as `examples/judge` prints it
JUDGE_SHAPES = """\
  cp models/default/fleet.toml {model}/
  cargo run --quiet --release -p worker --example judge -- {model} > {folder}/shapes.txt"""


def _json(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Problem(f"{path} cannot be read: {error}") from None


def require_complete(folder):
    """Raises a Problem unless the export and its figures have all their files, and no more bytes than the repository allows."""
    model = folder / "model"
    if not model.is_dir() and (folder / "model.tar.0").exists():
        raise Problem(f"{model} does not exist; join its parts first: cat {folder}/model.tar.? | tar x -C {folder}")
    wanted = [*(model / name for name in FILES), folder / "judgement.json"]
    if missing := [str(path) for path in wanted if not path.is_file() or path.stat().st_size == 0]:
        raise Problem(f"the export is incomplete; missing or empty: {', '.join(missing)}")
    size = sum((model / name).stat().st_size for name in FILES)
    if size > BYTES_MAX:
        raise Problem(f"the files of {model} have {size} bytes together, more than the {BYTES_MAX} that the repository allows")
    shapes, newest = folder / "shapes.txt", max((model / name).stat().st_mtime for name in FILES)
    if not shapes.is_file() or shapes.stat().st_mtime < newest:
        commands = JUDGE_SHAPES.format(model=model, folder=folder)
        raise Problem(f"{shapes} is missing or older than the model; judge the shape scenes (about 10 minutes):\n{commands}")


def classes(path):
    """What a configuration says about the classes of the networks. Their sizes are free: the worker loads the export later."""
    config = _json(path)
    names = config.keys() - {"_diffusers_version"} if path.name == "model_index.json" else ("_class_name", "architectures", "model_type")
    return {name: config.get(name) for name in names}


def require_layout(model, target):
    """Raises a Problem unless every component is of the class that the installed one has, which is what the loader expects."""
    for name in CONFIGS:
        found, expected = classes(model / name), classes(target / name)
        for key in sorted(found.keys() | expected.keys()):
            if found.get(key) != expected.get(key):
                raise Problem(f"{model / name} says {key} = {found.get(key)}, but the loader expects {expected.get(key)}")


def figures_of(folder):
    """The export's figures, in the form of `figures.json`: for each judgement how it was measured, and the share of every property."""
    judged = _json(folder / "judgement.json")
    if missing := {"preset", "side", "steps", "held_out_prompts", "read_in_videos"} - judged.keys():
        raise Problem(f"{folder}/judgement.json lacks {', '.join(sorted(missing))}: run `scripts/train-default judge` to its end")
    preset, prompts = judged["preset"], judged["held_out_prompts"]
    if prompts < (planned := PRESETS[preset].judged):
        raise Problem(f"{folder}/judgement.json has {prompts} of {planned} held-out prompts: run `scripts/train-default judge` to its end")
    table = TABLE.match((folder / "shapes.txt").read_text(encoding="utf-8").strip())
    if table is None:
        raise Problem(f"{folder}/shapes.txt is not the table that the judge of the shape scenes prints")
    names, shares = ([cell.strip() for cell in table[row].split("|")] for row in (2, 3))
    how = f"{prompts} held-out prompts of the preset {preset}, {judged['steps']} steps, {judged['side']} pixels"
    return {
        "shape_scenes": {"measured": table[1], "read": dict(zip(names, map(float, shares), strict=True))},
        "held_out_prompts": {"measured": how, "read": judged["read_in_videos"]},
    }


def require_as_good(found, installed):
    """Raises a Problem with every property that is worse than the installed model's; both are figures as in `figures.json`."""
    worse = []
    for table, before in installed.items():
        after = found[table]
        if after["measured"] != before["measured"]:
            how = f"measured with {after['measured']}, but the installed model with {before['measured']}"
            raise Problem(f"{table} cannot be compared: {how}; README.md, \"Replacing the weights\", says what to do")
        for name, share in before["read"].items():
            if not after["read"].get(name, -1) >= share:
                worse.append(f"  {table}, {name}: {after['read'].get(name)}, installed {share}")
    if worse:
        raise Problem("the export is worse than the installed model:\n" + "\n".join(worse))


def with_sizes(manifest, config):
    """The text of `fleet.toml` with the numbers of `transformer/config.json` in its section [transformer]."""
    hidden, patch = config["num_attention_heads"] * config["attention_head_dim"], config["patch_size"] ** 2 * config["patch_size_t"]
    sizes = {
        "hidden": hidden, "mlp": int(hidden * config["mlp_ratio"]), "double_blocks": config["num_layers"],
        "single_blocks": config["num_single_layers"], "refiner_blocks": config["num_refiner_layers"], "text": config["text_embed_dim"],
        "pooled": config["pooled_projection_dim"], "patch": config["in_channels"] * patch, "guidance": str(config["guidance_embeds"]).lower(),
    }  # fmt: skip
    start, section, rest = re.split(r"(^\[transformer\].*?)(?=^\[|\Z)", manifest, maxsplit=1, flags=re.MULTILINE | re.DOTALL)
    for key, value in sizes.items():
        section, lines = re.subn(rf"^{key} = \w+", f"{key} = {value}", section, flags=re.MULTILINE)
        if lines != 1:
            raise Problem(f"fleet.toml needs one line `{key} = ...` in its section [transformer]")
    return start + section + rest


def prepare(model, target, aside, worker):
    """Fills `aside` with a whole model folder, which the worker has loaded and rendered with."""
    for name in FILES:
        (aside / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(model / name, aside / name)
    manifest = with_sizes((target / "fleet.toml").read_text(encoding="utf-8"), _json(model / "transformer/config.json"))
    (aside / "fleet.toml").write_text(manifest, encoding="utf-8")
    output([worker, "fingerprint", "--model", aside, "--write"], "the worker cannot load the export")
    output([worker, "fit-preview", "--model", aside, "--videos", PREVIEW_VIDEOS], "the colours of previews cannot be fitted")


def install(folder, target, worker):
    """Replaces the model in `target` by the export in `folder`, or raises a Problem and changes nothing.

    Returns the names of the judgements that the installed model had no figures of.
    """
    require_complete(folder)
    require_layout(folder / "model", target)
    found, installed = figures_of(folder), _json(target / FIGURES)
    require_as_good(found, installed)
    if not worker.exists():
        raise Problem(f"{worker} does not exist; run `make build`")
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as aside:
        prepare(folder / "model", target, Path(aside), worker)
        (Path(aside) / FIGURES).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        for name in (*FILES, *WRITTEN):
            (Path(aside) / name).replace(target / name)
    return sorted(found.keys() - installed.keys())


def remaining():
    """What has to be done by hand afterwards: the numbered list of README.md."""
    readme = (TARGET / "README.md").read_text(encoding="utf-8")
    section = readme.split("\n## Replacing the weights\n")[1].split("\n## ")[0]
    return section[section.index("\n1. ") :].strip()


def main(words):
    """Installs, and prints what remains to be done."""
    parser = argparse.ArgumentParser(prog="train-default install", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the training's --out")
    folder = parser.parse_args(words).folder
    for table in install(folder, TARGET, target_dir() / "worker"):
        say(f"{table}: not compared, because the installed model had no such figures")
    say(f"installed {folder}/model in {TARGET}; what remains to be done:\n\n{remaining()}")
