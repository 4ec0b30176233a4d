"""A model that begins its videos from a picture, for the examples about pictures.

The worker's real code runs with a model that takes no time (`worker/examples/gated_worker`), since the checkpoints of such models
are large. Its video is a hash of what the model was given.
"""

import shutil
from pathlib import Path

from fleet_stack import apps
from fleet_stack.fleet import Fleet
from fleet_stack.paths import ROOT

MODEL = "picture"
PICTURE = ROOT / "crates/pictures/tests/fixtures/turned.jpg"


def offer(fleet: Fleet) -> Path:
    """Adds the model to the fleet's, before its processes start; returns the model's folder."""
    folder = fleet.folder / MODEL
    folder.mkdir()
    manifest = (ROOT / "models/default/fleet.toml").read_text()
    named = manifest.replace('id = "default"\n', f'id = "{MODEL}"\nimage = "required"\n', 1)
    # Early steps at half the size are not possible for such a model.
    tables = [table for table in named.split("\n[") if not table.startswith("progressive]")]
    (folder / "fleet.toml").write_text("\n[".join(tables))
    fleet.variables["FLEET__MODELS__DIRS"] = f"models/default,{folder}"
    return folder


def serve(fleet: Fleet, folder: Path) -> None:
    """Starts a worker with the model."""
    own = {"FLEET__WORKER__MODEL_DIR": str(folder), "FLEET__WORKER__NAME": MODEL, "FLEET__WORKER__METRICS_PORT": "0"}
    fleet.run("picture-worker", [str(apps.program("examples/gated_worker"))], fleet.environment(own))


def place(folder: Path) -> None:
    """Puts the picture that the examples name into a folder."""
    shutil.copy(PICTURE, folder / "cat.jpg")
