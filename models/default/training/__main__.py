"""Draws, trains, exports and judges the default model; see ../README.md for the order of the commands.

`python -m training COMMAND --help` explains each one's words. `scripts/train-default install FOLDER` replaces the model's weights by an
export; it is a separate program, because it needs no torch.
"""

import argparse
import json
import logging
from pathlib import Path

import torch

from . import carry, config, export, figures, sprites, stages, words, world


def parser():
    """The command line."""
    whole = argparse.ArgumentParser(prog="training", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = whole.add_subparsers(dest="command", required=True)
    sheet = commands.add_parser("draw-sheet", help="a picture of drawn clips, to look at the world")
    sheet.add_argument("file", type=Path)
    sheet.add_argument("--preset", choices=config.PRESETS, default="card")
    sheet.add_argument("--seed", type=int, default=1)
    sheet.add_argument("--count", type=int, default=16)
    sheet = commands.add_parser("sprites", help="take the sprites from the font again")
    sheet.add_argument("--font", type=Path, required=True, help="NotoColorEmoji.ttf")
    vocabulary = commands.add_parser("vocabulary", help="the words of the captions, for [world] in fleet.toml")
    vocabulary.add_argument("--preset", choices=config.PRESETS, help="of this training, not of the weights in the repository")
    pack = commands.add_parser("pack", help="an archive for a machine with a GPU and without a network")
    pack.add_argument("file", type=Path)
    train = commands.add_parser("train", help="all stages, then export and judgement, within --minutes")
    train.add_argument("--stage", choices=stages.STAGES, action="append", help="only this stage (may be repeated)")
    train.add_argument("--from", dest="start", type=Path, help="a checkpoint whose fitting weights to start from")
    train.add_argument("--text", choices=("keep", "adapt"), help="take over its text encoders as well, as they are or to teach them new words")
    train.add_argument("--parts", action="store_true", help="also write the model as files below 16 MiB")
    stage = commands.add_parser("stage", help="one stage alone, without export")
    stage.add_argument("stage", choices=stages.STAGES)
    finish = commands.add_parser("export", help="export and judge what the work folder holds")
    finish.add_argument("--twin", action="store_true", help="with the transformer of few steps")
    judge = commands.add_parser("judge", help="judge a checkpoint with the reader of the work folder, or with --reader")
    judge.add_argument("model", type=Path)
    judge.add_argument("--steps", type=int)
    judge.add_argument("--reader", type=Path, help="reader.safetensors of a training run")
    for command in (train, stage, finish, judge):
        command.add_argument("--preset", choices=config.PRESETS, default="cores")
        command.add_argument("--work", type=Path, required=True, help="folder of training states; may already hold some")
        command.add_argument("--out", type=Path, default=Path(".train/out"), help="where model, figures and picture go")
        command.add_argument("--minutes", type=float, default=0.0, help="when this piece has to be over (0: the whole plan)")
        command.add_argument("--plan", type=float, default=0.0, help="minutes of all pieces together; learning rates follow it")
        command.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
        command.add_argument("--compile", action="store_true", help="compile the transformer's blocks")
        command.add_argument("--deadline", type=float, default=0.0, help=argparse.SUPPRESS)
    return whole


def main():
    """Runs one command."""
    wanted = parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    if wanted.command == "draw-sheet":
        print("\n".join(figures.drawn_sheet(config.PRESETS[wanted.preset], wanted.seed, wanted.count, wanted.file)))
        return
    if wanted.command == "sprites":
        sprites.write_sheet(wanted.font)
        return
    if wanted.command == "vocabulary":
        chosen = config.PRESETS[wanted.preset].world if wanted.preset else world.SHIPPED_WORLD
        print(json.dumps(words.vocabulary(chosen), ensure_ascii=False))
        return
    if wanted.command == "pack":
        print(f"{wanted.file}: {carry.pack(wanted.file) / 2**20:.1f} MiB\nthere: tar xf {wanted.file.name} && training-pack/run OUT 9")
        return
    run = stages.run_from(wanted)
    if wanted.command != "stage":
        wanted.out.mkdir(parents=True, exist_ok=True)
    if wanted.command == "train":
        if wanted.start:
            logging.info("from %s: %s", wanted.start, export.start_from(run, wanted.start, wanted.text))
        stages.train(run, wanted)
    elif wanted.command == "stage":
        stages.STAGES[wanted.stage](run)
    elif wanted.command == "export":
        wanted.parts = False
        stages.finish(run, wanted, "twin" if wanted.twin else "transformer")
    else:
        figures.report(run, wanted.model, wanted.out, wanted.steps, reader=wanted.reader)


if __name__ == "__main__":
    main()
