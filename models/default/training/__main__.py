"""Runs the whole training, stage after stage, each resuming from its own checkpoint; then exports.

`python -m training --work DIR` from the model folder; `--stage NAME` runs one stage, so that the latents can be cached
in a second process while the transformer already trains on the first of them.
"""

import argparse
import logging
from pathlib import Path

import torch

from . import export, latents, resume, text, transformer, vae

STAGES = ("vae", "text", "latents", "transformer", "export")
log = logging.getLogger("training")


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder of training states; may already hold some")
    parser.add_argument("--stage", choices=STAGES, action="append", help="run only this stage (may be repeated)")
    parser.add_argument("--model", type=Path, default=Path(__file__).parent.parent, help="where the checkpoint goes")
    parser.add_argument("--from", dest="export", type=Path, help="an export to go on from, into an empty work folder")
    parser.add_argument("--minutes", type=float, default=0.0, help="train the transformer for so long at most; 0: no limit")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves it to torch")
    wanted = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if wanted.threads:
        torch.set_num_threads(wanted.threads)
    wanted.work.mkdir(parents=True, exist_ok=True)
    device = torch.device(wanted.device)
    if wanted.export:
        resume.from_export(wanted.export, wanted.work)
    for stage in wanted.stage or STAGES:
        log.info("stage %s on %s", stage, device)
        match stage:
            case "vae":
                torch.manual_seed(0)
                vae.train(wanted.work, device)
            case "text":
                torch.manual_seed(1)
                text.train(wanted.work, device)
            case "latents":
                latents.cache(wanted.work, vae.averaged(wanted.work, device), device)
            case "transformer":
                transformer.train(wanted.work, device, wanted.minutes)
            case "export":
                log.info("exported: %.1f MB in %s", export.export(wanted.work, wanted.model) / 1e6, wanted.model)


if __name__ == "__main__":
    main()
