"""`scripts/train-default install`: a good export replaces the model; any other is refused, and then no file changes."""

import json
import os
import shutil
import tomllib
from pathlib import Path

import pytest
from fleet_stack.console import Problem
from fleet_stack.paths import ROOT
from training import install

SHAPES = """200 held-out scenes, 3 seeds, 25 steps
| background | colour | motion | shape | size | all five | clips |
|---|---|---|---|---|---|---|
| 1.000 | 0.988 | 0.970 | {shape} | 0.901 | 0.590 | 600 |
"""
JUDGED = {"preset": "cores", "side": 64, "steps": 25, "held_out_prompts": 200, "read_in_videos": {"subject": 0.7, "all": 0.5}}
# Replaces the fingerprints and the preview's colours as the worker does; a model with the word "broken" cannot be loaded.
WORKER = """#!/bin/sh -e
! grep -q broken "$3/vae/diffusion_pytorch_model.safetensors" || { echo "no such tensor"; exit 1; }
case "$1" in
fingerprint) sed -i 's/^weights = ".*"/weights = "fresh"/' "$3/fleet.toml" ;;
fit-preview) echo '{}' >"$3/latent_rgb.json" ;;
esac
"""


def model(folder: Path, weights: str) -> Path:
    """The installed model with other bytes in place of the weights and the tokenizers."""
    for name in install.FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if name in install.CONFIGS:
            shutil.copyfile(ROOT / "models/default" / name, folder / name)
        else:
            (folder / name).write_text(weights)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Case:
    """An installed model, an export that is as good, and a worker."""

    def __init__(self, folder: Path) -> None:
        self.target, self.export, self.worker = model(folder / "models/default", "old"), folder / "out", folder / "worker"
        for name in install.WRITTEN:
            shutil.copyfile(ROOT / "models/default" / name, self.target / name)
        (self.target / "README.md").write_text("stays")
        model(self.export / "model", "new")
        self.judge()
        self.worker.write_text(WORKER)
        self.worker.chmod(0o755)

    def judge(self, shape: str = "0.631", **judged: object) -> None:
        """Writes the figures of the export."""
        (self.export / "judgement.json").write_text(json.dumps(JUDGED | judged))
        (self.export / "shapes.txt").write_text(SHAPES.format(shape=shape))

    def change(self, name: str, **values: object) -> None:
        """Changes a configuration of the export."""
        path = self.export / "model" / name
        path.write_text(json.dumps(json.loads(path.read_text()) | values))
        self.judge()

    def install(self) -> list[str]:
        return install.install(self.export, self.target, self.worker)

    def refused(self) -> str:
        """The message of a refusal, after which everything is as before."""
        before = contents(self.target.parent)
        with pytest.raises(Problem) as refusal:
            self.install()
        assert contents(self.target.parent) == before
        assert os.listdir(self.target.parent) == ["default"]
        return str(refusal.value)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def test_a_good_export_replaces_everything_that_depends_on_the_weights(case: Case) -> None:
    case.change("transformer/config.json", num_attention_heads=8, num_layers=2, in_channels=12)
    before = tomllib.loads((case.target / "fleet.toml").read_text())
    assert case.install() == ["held_out_prompts"], "the installed model has no such figures yet"
    assert os.listdir(case.target.parent) == ["default"]
    installed = contents(case.target)
    exported = contents(case.export / "model")
    assert {name: installed[name] for name in install.FILES} == exported
    assert (installed["README.md"], installed["latent_rgb.json"]) == (b"stays", b"{}\n")
    manifest = tomllib.loads(installed["fleet.toml"].decode())
    assert manifest["fingerprint"].pop("weights") == "fresh" and before["fingerprint"].pop("weights")
    before["transformer"] |= {"hidden": 256, "mlp": 1024, "double_blocks": 2, "patch": 48}
    assert manifest == before
    figures = json.loads(installed[install.FIGURES])
    assert figures["shape_scenes"]["read"]["motion"] == 0.97
    assert figures["held_out_prompts"]["read"] == JUDGED["read_in_videos"]


def test_sizes_of_the_same_transformer_leave_the_manifest_as_it_is() -> None:
    manifest, config = (ROOT / "models/default" / name for name in ("fleet.toml", "transformer/config.json"))
    assert install.with_sizes(manifest.read_text(), json.loads(config.read_text())) == manifest.read_text()


def test_worse_figures_are_named_with_both_values(case: Case) -> None:
    case.judge(shape="0.630")
    assert "shape_scenes, shape: 0.63, installed 0.631" in case.refused()
    case.judge()
    case.install()
    case.judge(read_in_videos={"subject": 0.9, "all": 0.499})
    refusal = case.refused()
    assert "held_out_prompts, all: 0.499, installed 0.5" in refusal and "subject" not in refusal
    case.judge(read_in_videos={"subject": 0.9})
    assert "all: None, installed 0.5" in case.refused()
    case.judge()
    assert case.install() == [], "the same figures are good enough"


def test_figures_that_were_measured_otherwise_are_not_compared(case: Case) -> None:
    path = case.export / "shapes.txt"
    path.write_text(path.read_text().replace("3 seeds", "1 seeds"))
    assert "cannot be compared" in case.refused()
    path.write_text("Compiling worker\n")
    assert "is not the table" in case.refused()


@pytest.mark.parametrize("name", [*install.FILES, "judgement.json", "shapes.txt"])
def test_an_export_without_one_of_its_files_is_incomplete(case: Case, name: str) -> None:
    (case.export / ("model" if name in install.FILES else ".") / name).unlink()
    assert name in case.refused()


def test_an_unfinished_judgement_is_incomplete(case: Case) -> None:
    case.judge(held_out_prompts=198)
    assert "198 of 200 held-out prompts" in case.refused()
    (case.export / "judgement.json").write_text('{"preset": "cores"}')
    assert "lacks held_out_prompts, read_in_videos, side, steps" in case.refused()


def test_the_shapes_have_to_be_judged_after_the_export(case: Case) -> None:
    os.utime(case.export / "shapes.txt", (1, 1))
    refusal = case.refused()
    assert "older than the model" in refusal and f"--example judge -- {case.export}/model > {case.export}/shapes.txt" in refusal


def test_parts_have_to_be_joined_first(case: Case) -> None:
    (case.export / "model").rename(case.export / "elsewhere")
    (case.export / "model.tar.0").write_text("")
    assert f"cat {case.export}/model.tar.? | tar x -C {case.export}" in case.refused()


def test_other_layouts_are_refused(case: Case) -> None:
    case.change("vae/config.json", _class_name="AutoencoderKLWan")
    assert "vae/config.json says _class_name = AutoencoderKLWan, but the loader expects AutoencoderKLHunyuanVideo" in case.refused()
    case.change("vae/config.json", _class_name="AutoencoderKLHunyuanVideo")
    case.change("model_index.json", text_encoder=["transformers", "LlavaModel"])
    assert "model_index.json says text_encoder" in case.refused()


def test_an_export_beyond_the_repositorys_limit_is_refused(case: Case) -> None:
    os.truncate(case.export / "model/transformer/diffusion_pytorch_model.safetensors", install.BYTES_MAX)
    case.judge()
    assert str(install.BYTES_MAX) in case.refused()


def test_an_export_that_the_worker_cannot_load_is_refused(case: Case) -> None:
    (case.export / "model/vae/diffusion_pytorch_model.safetensors").write_text("broken")
    case.judge()
    assert "the worker cannot load the export" in (refusal := case.refused()) and "no such tensor" in refusal
    case.worker.unlink()
    assert "run `make build`" in case.refused()


def test_the_list_of_what_remains_is_the_one_of_the_readme() -> None:
    remaining = install.remaining()
    assert remaining.startswith("1. ") and remaining in (install.TARGET / "README.md").read_text()
    for command in ("scripts/pictures", "fit-preview --model models/default", "make test-crate CRATE=worker"):
        assert command in remaining


def test_the_figures_are_those_that_the_readme_states() -> None:
    read = json.loads((install.TARGET / install.FIGURES).read_text())["shape_scenes"]["read"]
    rows = f"| {' | '.join(read)} |\n|{'---|' * len(read)}\n| {' | '.join(f'{share:.3f}' for share in read.values())} |"
    assert rows in (install.TARGET / "README.md").read_text()
