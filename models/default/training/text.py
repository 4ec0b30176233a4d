"""The two text encoders: taught to tell every property of a scene apart from its caption before any video is seen.

They are frozen afterwards. The transformer then starts from a prompt whose meaning is already laid open, which takes
minutes instead of the greater part of its training.
"""

import copy
import logging
import random

import torch
import torch.nn.functional as F
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE
from torch import nn
from transformers import AutoTokenizer, CLIPTextConfig, CLIPTextModel, CLIPTokenizer, DynamicCache, LlamaConfig, LlamaModel

from . import bpe, config, state, words
from .world import FIELDS, sample

PEAK_RATE = 2e-3
ADAPTING_RATE = 6e-4  # of encoders that already understand the shapes
KEEP_WEIGHT = 3.0  # of what they make of captions of shape scenes, which a transformer has learnt to follow
log = logging.getLogger(__name__)


def llama_config(preset, tokenizer, layers):
    """Configuration of the language model for a number of layers."""
    ids = dict(bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    return LlamaConfig(vocab_size=len(tokenizer), num_hidden_layers=layers, **config.llama(preset), **ids)


class Encoders(nn.Module):
    """Both encoders as the pipelines use them, only without computing anything that is thrown away."""

    def __init__(self, folder, preset):
        super().__init__()
        if not (folder / "tokenizer_2" / "vocab.json").exists():
            bpe.train_llama(folder / "tokenizer", preset.world)
            bpe.train_clip(folder / "tokenizer_2", preset.world)
        self.llama_tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
        self.clip_tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer_2")
        self.llama = LlamaModel(llama_config(preset, self.llama_tokenizer, config.LLAMA_LAYERS_USED))
        self.llama.norm = nn.Identity()  # the states are taken before any final norm
        ids = {f"{name}_token_id": getattr(self.clip_tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
        self.clip = CLIPTextModel(CLIPTextConfig(vocab_size=len(self.clip_tokenizer), **config.clip(preset), **ids))
        self.before, self.after = DEFAULT_PROMPT_TEMPLATE["template"].split("{}")

    def forward(self, prompts):
        """States (B, L, D) of the prompt's tokens, their mask (B, L) and the pooled vector (B, P)."""
        device = self.llama.embed_tokens.weight.device
        fixed = torch.tensor([self.llama_tokenizer(self.before)["input_ids"]], device=device)
        cache = DynamicCache()
        self.llama(input_ids=fixed, past_key_values=cache, use_cache=True)
        cache.batch_repeat_interleave(len(prompts))
        # The template ends with line breaks, so that what follows is split as it would be behind them.
        whole = self.llama_tokenizer([prompt + self.after for prompt in prompts], padding=True, add_special_tokens=False, return_tensors="pt")
        tokens, mask = (whole[name][:, : config.TEXT_TOKENS].to(device) for name in ("input_ids", "attention_mask"))
        positions = torch.arange(tokens.shape[1], device=device) + fixed.shape[1]
        states = self.llama(
            input_ids=tokens, past_key_values=cache, use_cache=True, position_ids=positions[None].expand_as(tokens)
        ).last_hidden_state
        ids = self.clip_tokenizer(prompts, padding=True, truncation=True, max_length=77, return_tensors="pt")["input_ids"]
        return states, mask, self.clip(ids.to(device)).pooler_output


class Readout(nn.Module):
    """Linear heads that name every property, or that it is left unsaid, from one vector."""

    def __init__(self, width):
        super().__init__()
        self.heads = nn.ModuleDict({field: nn.Linear(width, len(names) + 1) for field, names in FIELDS.items()})

    def loss_and_hits(self, vector, labels):
        """Summed cross-entropy, and the share of prompts of which everything is read right."""
        answers = {field: head(vector) for field, head in self.heads.items()}
        right = torch.stack([answers[field].argmax(1) == labels[field] for field in FIELDS]).all(0)
        return sum(F.cross_entropy(answers[field], labels[field]) for field in FIELDS), right.float().mean()


def labelled_prompts(world, count, chooser, device, held_out=False):
    """Captions; for each field, the number of the value or of "left unsaid"; and which captions are of shape scenes."""
    scenes = [sample(chooser, world, held_out) for _ in range(count)]
    prompts, said = zip(*(words.write(scene, chooser, world) for scene in scenes))
    numbers = lambda field, names: [len(names) if getattr(s, field) is None else names.index(getattr(s, field)) for s in said]  # noqa: E731
    labels = {field: torch.tensor(numbers(field, names), device=device) for field, names in FIELDS.items()}
    return list(prompts), labels, torch.tensor([scene.is_shape for scene in scenes], device=device)


def vectors(states, mask, pooled):
    """What the readouts see: the mean of the states, the last state and the pooled vector."""
    weight = mask[..., None].to(states.dtype)
    last = states[torch.arange(len(states), device=states.device), mask.sum(1) - 1]
    return {"mean": (states * weight).sum(1) / weight.sum(1), "last": last, "pooled": pooled}


def train(run):
    """Trains both encoders, resuming from `text.pt`; those of `text_start.pt`, if it exists, only learn what they do not know yet."""
    torch.manual_seed(1)
    preset = run.preset
    both = untrained(run).to(run.device)
    readouts = both[1]
    known = state.load(run.work / "text_start.pt")
    start = known and copy.deepcopy(both[0]).eval().requires_grad_(False)
    if start:
        start.load_state_dict(known["encoders"])
    rates = (ADAPTING_RATE if start else PEAK_RATE, PEAK_RATE)
    groups = [dict(params=list(part.parameters()), lr=rate, peak_lr=rate) for part, rate in zip(both, rates)]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.01)
    training = state.Training(both, [optimizer], 0.98, run.work / "text.pt").resume()
    chooser, clock = random.Random(training.step + 11), run.clock("text", training)
    while not clock.over:
        prompts, labels, shapes = labelled_prompts(preset.world, preset.text_batch, chooser, run.device)
        outputs = both[0](prompts)
        seen = vectors(*outputs)
        # States of unit size keep the transformer's first layers in a healthy range.
        size = sum((seen[name].square().mean() - 1).square() for name in ("mean", "pooled"))
        loss = sum(readouts[name].loss_and_hits(vector, labels)[0] for name, vector in seen.items()) + 0.1 * size
        if start:
            loss = loss + KEEP_WEIGHT * change(outputs, start(prompts), shapes)
        training.update(loss, min(1.0, (training.step + 1) / 50, max(0.02, 2 * (1 - clock.part))))
        training.report("text", clock)
    training.save(clock)
    log.info("text: %d steps, held-out captions read whole from last, pooled: %s", training.step, held_out_hits(run, both))


def change(outputs, before, shapes):
    """Mean square of the difference between two encoders' states and pooled vectors, over the captions of shape scenes."""
    (states, mask, pooled), (states_before, _, pooled_before) = outputs, before
    weight = (mask * shapes[:, None])[..., None]
    of_states = (weight * (states - states_before).square()).sum() / (weight.sum() * states.shape[2]).clamp(min=1)
    return of_states + (pooled - pooled_before)[shapes].square().mean()


@torch.no_grad()
def held_out_hits(run, both, count=400):
    """Share of captions of held-out scenes whose every property is read right from the last state and the pooled vector."""
    prompts, labels, _ = labelled_prompts(run.preset.world, count, random.Random(13), run.device, held_out=True)
    seen = vectors(*both[0](prompts))
    return [round(float(both[1][name].loss_and_hits(seen[name], labels)[1]), 3) for name in ("last", "pooled")]


def untrained(run):
    """The encoders and their readouts."""
    readouts = nn.ModuleDict({name: Readout(run.preset.text_width) for name in ("mean", "last", "pooled")})
    return nn.ModuleList([Encoders(run.work, run.preset), readouts])


def trained(run):
    """The averaged encoders of the last saved state, for use only."""
    return state.averaged(run.work / "text.pt", untrained(run).to(run.device))[0]
