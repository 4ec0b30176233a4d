"""The two text encoders: taught to tell colour, size, shape, motion and background apart before any video is seen.

They are frozen afterwards. The transformer then starts from a prompt whose meaning is already laid open, which takes
minutes instead of the greater part of its training.
"""

import logging
import random

import torch
import torch.nn.functional as F
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE
from torch import nn
from transformers import AutoTokenizer, CLIPTextConfig, CLIPTextModel, CLIPTokenizer, DynamicCache, LlamaConfig, LlamaModel

from . import bpe, captions, checkpoint, config, draw

FIELDS = {
    "color": list(draw.COLORS),
    "size": list(draw.SIZES),
    "shape": list(draw.SHAPES),
    "motion": list(draw.MOTIONS),
    "background": list(draw.BACKGROUNDS),
}
log = logging.getLogger(__name__)


def llama_config(tokenizer, layers):
    """Configuration of the language model for a number of layers."""
    ids = dict(bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    return LlamaConfig(vocab_size=len(tokenizer), num_hidden_layers=layers, **config.LLAMA, **ids)


class Encoders(nn.Module):
    """Both encoders as the pipelines use them, only without computing anything that is thrown away."""

    def __init__(self, folder):
        super().__init__()
        if not (folder / "tokenizer_2" / "vocab.json").exists():
            bpe.train_llama(folder / "tokenizer")
            bpe.train_clip(folder / "tokenizer_2")
        self.llama_tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
        self.clip_tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer_2")
        self.llama = LlamaModel(llama_config(self.llama_tokenizer, config.LLAMA_LAYERS_USED))
        self.llama.norm = nn.Identity()  # the states are taken before any final norm
        ids = {f"{name}_token_id": getattr(self.clip_tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
        self.clip = CLIPTextModel(CLIPTextConfig(vocab_size=len(self.clip_tokenizer), **config.CLIP, **ids))
        self.before, self.after = DEFAULT_PROMPT_TEMPLATE["template"].split("{}")

    def forward(self, prompts):
        """States (B, L, D) of the prompt's tokens, their mask (B, L) and the pooled vector (B, P)."""
        device = self.llama.embed_tokens.weight.device
        fixed = torch.tensor([self.llama_tokenizer(self.before)["input_ids"]], device=device)
        cache = DynamicCache()
        self.llama(input_ids=fixed, past_key_values=cache, use_cache=True)
        cache.batch_repeat_interleave(len(prompts))
        whole = self.llama_tokenizer([self.before + prompt + self.after for prompt in prompts], padding=True, return_tensors="pt")
        tokens = whole["input_ids"][:, fixed.shape[1] :].to(device)
        mask = whole["attention_mask"][:, fixed.shape[1] :].to(device)
        positions = torch.arange(tokens.shape[1], device=device) + fixed.shape[1]
        states = self.llama(
            input_ids=tokens, past_key_values=cache, use_cache=True, position_ids=positions[None].expand_as(tokens)
        ).last_hidden_state
        ids = self.clip_tokenizer(prompts, padding=True, truncation=True, max_length=77, return_tensors="pt")["input_ids"]
        return states, mask, self.clip(ids.to(device)).pooler_output


class Readout(nn.Module):
    """Linear heads that name every attribute, or that it is not said, from one vector."""

    def __init__(self, width):
        super().__init__()
        self.heads = nn.ModuleDict({field: nn.Linear(width, len(names) + 1) for field, names in FIELDS.items()})

    def loss_and_hits(self, vector, labels):
        """Summed cross-entropy, and the share of prompts of which everything is read right."""
        answers = {field: head(vector) for field, head in self.heads.items()}
        right = torch.stack([answers[field].argmax(1) == labels[field] for field in FIELDS]).all(0)
        return sum(F.cross_entropy(answers[field], labels[field]) for field in FIELDS), right.float().mean()


def labelled_prompts(scenes, count, chooser, device):
    """Captions and, for each field, the number of the value or of "not said"."""
    prompts, said = zip(*(captions.write(chooser.choice(scenes), chooser) for _ in range(count)))
    labels = {
        field: torch.tensor([names.index(getattr(s, field)) if getattr(s, field) else len(names) for s in said], device=device)
        for field, names in FIELDS.items()
    }
    return list(prompts), labels


def train(folder, device):
    """Trains both encoders, resuming from `folder/text.pt`; returns them frozen."""
    path = folder / "text.pt"
    encoders = Encoders(folder).to(device)
    readouts = nn.ModuleDict({name: Readout(96) for name in ("mean", "last", "pooled")}).to(device)
    both = nn.ModuleList([encoders, readouts])
    optimizer = torch.optim.AdamW(both.parameters(), lr=config.TEXT_RATE, betas=(0.9, 0.98), weight_decay=0.01)
    step = 0
    saved = checkpoint.load(path)
    if saved and "encoders" in saved:  # from an export, which holds no readouts: nothing to train or to measure
        encoders.load_state_dict(saved["encoders"])
        return encoders.requires_grad_(False).eval()
    if saved:
        both.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        step = saved["step"]
    chooser = random.Random(step + 11)
    scenes = [scene for scene in draw.all_scenes() if not draw.is_held_out(scene)]
    while step < config.TEXT_STEPS:
        rate = min(1.0, (step + 1) / 50, max(0.02, 2 * (1 - step / config.TEXT_STEPS)))
        optimizer.param_groups[0]["lr"] = config.TEXT_RATE * rate
        prompts, labels = labelled_prompts(scenes, config.TEXT_BATCH, chooser, device)
        states, mask, pooled = encoders(prompts)
        weight = mask[..., None].to(states.dtype)
        mean = (states * weight).sum(1) / weight.sum(1)
        last = states[torch.arange(len(prompts)), mask.sum(1) - 1]
        results = [readouts[name].loss_and_hits(vector, labels) for name, vector in (("mean", mean), ("last", last), ("pooled", pooled))]
        # States of unit size keep the transformer's first layers in a healthy range.
        size = sum((vector.square().mean() - 1).square() for vector in (mean, pooled))
        loss = sum(result[0] for result in results) + 0.1 * size
        loss.backward()
        torch.nn.utils.clip_grad_norm_(both.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        if step % 50 == 0 or step == config.TEXT_STEPS:
            hits = ", ".join(f"{float(result[1]):.3f}" for result in results)
            log.info("text step %d loss %.4f, all read from mean, last, pooled: %s", step, float(loss.detach()), hits)
            checkpoint.save(path, model=both.state_dict(), optimizer=optimizer.state_dict(), step=step)
    log.info("text held-out, everything read right: %s", held_out_hits(both, device))
    return encoders.requires_grad_(False).eval()


@torch.no_grad()
def held_out_hits(both, device, count=400):
    """Share of captions of held-out scenes whose every attribute is read right from the last state and the pooled vector."""
    encoders, readouts = both
    scenes = [scene for scene in draw.all_scenes() if draw.is_held_out(scene)]
    prompts, labels = labelled_prompts(scenes, count, random.Random(13), device)
    states, mask, pooled = encoders(prompts)
    last = states[torch.arange(count), mask.sum(1) - 1]
    return [round(float(readouts[name].loss_and_hits(vector, labels)[1]), 3) for name, vector in (("last", last), ("pooled", pooled))]
