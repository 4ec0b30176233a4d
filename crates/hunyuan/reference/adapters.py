"""Writes the adapter fixtures: LoRA files of every family, and what diffusers and PEFT compute with them.

    pip install -r requirements.txt peft==0.19.1
    python adapters.py ../tests/fixtures

`fixtures/adapters` gets the files, `cases.json` (which files at which scales, and which result) and `reference.safetensors`:
the first prediction of the case `base` under each case's adapters. Files of diffusers and PEFT are computed by PEFT itself;
files in other names by a hand merge in the original layout, sent through diffusers' own weight converter.
"""

import inspect
import json
import sys
from pathlib import Path

import torch
from diffusers import HunyuanVideoPipeline, HunyuanVideoTransformer3DModel
from diffusers.loaders import single_file_utils
from peft import LoraConfig, PeftModel
from safetensors.torch import load_file, save_file

torch.set_num_threads(1)

SIGMA = 0.2
RANKS = (1, 2, 3)


def converter(hidden: int):
    """diffusers' converter, which has the released width written into it, for another width."""
    source = inspect.getsource(single_file_utils.convert_hunyuan_video_transformer_to_diffusers)
    assert "hidden_size = 3072" in source
    scope = {"torch": torch}
    exec(source.replace("hidden_size = 3072", f"hidden_size = {hidden}"), scope)  # noqa: S102 - the library's own source
    return scope["convert_hunyuan_video_transformer_to_diffusers"]


# Checkpoint's names to the original ones, joined in this order.
JOINED = {
    "img_attn_qkv": ["attn.to_q", "attn.to_k", "attn.to_v"],
    "txt_attn_qkv": ["attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"],
}
DOUBLE = {
    "norm1.linear": "img_mod.linear", "norm1_context.linear": "txt_mod.linear", "attn.to_out.0": "img_attn_proj",
    "attn.to_add_out": "txt_attn_proj", "attn.norm_q": "img_attn_q_norm", "attn.norm_k": "img_attn_k_norm",
    "attn.norm_added_q": "txt_attn_q_norm", "attn.norm_added_k": "txt_attn_k_norm", "ff.net.0.proj": "img_mlp.fc1",
    "ff.net.2": "img_mlp.fc2", "ff_context.net.0.proj": "txt_mlp.fc1", "ff_context.net.2": "txt_mlp.fc2",
}
SINGLE = {"norm.linear": "modulation.linear", "proj_out": "linear2", "attn.norm_q": "q_norm", "attn.norm_k": "k_norm"}
REFINER = {
    "attn.to_out.0": "self_attn_proj", "ff.net.0.proj": "mlp.fc1", "ff.net.2": "mlp.fc2",
    "norm_out.linear": "adaLN_modulation.1", "norm1": "norm1", "norm2": "norm2",
}
REST = {
    "x_embedder.proj": "img_in.proj", "proj_out": "final_layer.linear",
    "time_text_embed.timestep_embedder.linear_1": "time_in.mlp.0", "time_text_embed.timestep_embedder.linear_2": "time_in.mlp.2",
    "time_text_embed.guidance_embedder.linear_1": "guidance_in.mlp.0", "time_text_embed.guidance_embedder.linear_2": "guidance_in.mlp.2",
    "time_text_embed.text_embedder.linear_1": "vector_in.in_layer", "time_text_embed.text_embedder.linear_2": "vector_in.out_layer",
    "context_embedder.proj_in": "txt_in.input_embedder",
    "context_embedder.time_text_embed.timestep_embedder.linear_1": "txt_in.t_embedder.mlp.0",
    "context_embedder.time_text_embed.timestep_embedder.linear_2": "txt_in.t_embedder.mlp.2",
    "context_embedder.time_text_embed.text_embedder.linear_1": "txt_in.c_embedder.linear_1",
    "context_embedder.time_text_embed.text_embedder.linear_2": "txt_in.c_embedder.linear_2",
}


def to_original(state: dict) -> dict:
    """The inverse of diffusers' converter, written from the list of names."""
    left, out = dict(state), {}

    def join(target, parts):
        for leaf in ("weight", "bias"):
            if f"{parts[0]}.{leaf}" in left:
                out[f"{target}.{leaf}"] = torch.cat([left.pop(f"{part}.{leaf}") for part in parts])

    def move(old, new):
        for leaf in ("weight", "bias"):
            if f"{old}.{leaf}" in left:
                out[f"{new}.{leaf}"] = left.pop(f"{old}.{leaf}")

    def count(prefix):
        return 1 + max((int(key[len(prefix):].split(".")[0]) for key in state if key.startswith(prefix)), default=-1)

    for n in range(count("transformer_blocks.")):
        ours, theirs = f"transformer_blocks.{n}.", f"double_blocks.{n}."
        for target, parts in JOINED.items():
            join(theirs + target, [ours + part for part in parts])
        for old, new in DOUBLE.items():
            move(ours + old, theirs + new)
    for n in range(count("single_transformer_blocks.")):
        ours, theirs = f"single_transformer_blocks.{n}.", f"single_blocks.{n}."
        join(theirs + "linear1", [ours + part for part in ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")])
        for old, new in SINGLE.items():
            move(ours + old, theirs + new)
    refiner = "context_embedder.token_refiner.refiner_blocks."
    for n in range(count(refiner)):
        ours, theirs = f"{refiner}{n}.", f"txt_in.individual_token_refiner.blocks.{n}."
        join(theirs + "self_attn_qkv", [ours + part for part in ("attn.to_q", "attn.to_k", "attn.to_v")])
        for old, new in REFINER.items():
            move(ours + old, theirs + new)
    for old, new in REST.items():
        move(old, new)
    for leaf in ("weight", "bias"):
        scale, shift = left.pop(f"norm_out.linear.{leaf}").chunk(2)
        out[f"final_layer.adaLN_modulation.1.{leaf}"] = torch.cat([shift, scale])
    assert not left, sorted(left)
    return out


def to_diffusers(original: dict, hidden: int) -> dict:
    """diffusers' own way back, as its single-file loader calls it."""
    return converter(hidden)(dict(original))


def factors(original: dict, seed: int, only=None) -> dict:
    """Random factors for every matrix in the original layout: name -> (down, up)."""
    generator = torch.Generator().manual_seed(seed)
    pairs = {}
    for index, (key, weight) in enumerate(sorted(original.items())):
        if weight.ndim < 2 or (only and not only(key)):
            continue
        rank = RANKS[index % len(RANKS)]
        down = torch.randn((rank, *weight.shape[1:]), generator=generator) * SIGMA
        up = torch.randn((weight.shape[0], rank, *(1,) * (weight.ndim - 2)), generator=generator) * SIGMA
        pairs[key.removesuffix(".weight")] = (down, up)
    return pairs


def merged(original: dict, pairs: dict, strength: float, alpha=None) -> dict:
    """Weights with the product of each pair added, times alpha over rank."""
    state = dict(original)
    for module, (down, up) in pairs.items():
        rank = down.shape[0]
        product = (up.reshape(up.shape[0], rank) @ down.reshape(rank, -1)) * ((alpha(rank) / rank if alpha else 1.0) * strength)
        state[f"{module}.weight"] = state[f"{module}.weight"] + product.reshape(state[f"{module}.weight"].shape)
    return state


def comfy(module: str) -> str:
    """ComfyUI's own name of an original module."""
    rules = [("img_attn_qkv", "img_attn.qkv"), ("txt_attn_qkv", "txt_attn.qkv"), ("img_attn_proj", "img_attn.proj"),
             ("txt_attn_proj", "txt_attn.proj"), ("self_attn_qkv", "self_attn.qkv"), ("self_attn_proj", "self_attn.proj"),
             ("mod.linear", "mod.lin"), ("modulation.linear", "modulation.lin"), ("mlp.fc1", "mlp.0"), ("mlp.fc2", "mlp.2")]
    if module.startswith(("time_in", "guidance_in", "txt_in.t_embedder")):
        return module.replace("mlp.0", "in_layer").replace("mlp.2", "out_layer")
    if module.startswith("txt_in.c_embedder"):
        return module.replace("linear_1", "in_layer").replace("linear_2", "out_layer")
    for old, new in rules:
        module = module.replace(old, new)
    return module


class Base:
    """The checkpoint of the case `base` and the inputs of its first prediction."""

    def __init__(self, fixtures: Path):
        self.model_dir = fixtures / "base" / "model"
        recorded = load_file(fixtures / "base" / "reference.safetensors")
        self.latents, self.prompt, self.pooled = (recorded[k] for k in ("initial_latents", "prompt_embeds", "pooled_prompt_embeds"))
        self.state = load_file(self.model_dir / "transformer" / "diffusion_pytorch_model.safetensors")
        self.network = self.fresh()
        self.hidden = self.network.config.num_attention_heads * self.network.config.attention_head_dim

    def fresh(self):
        return HunyuanVideoTransformer3DModel.from_pretrained(self.model_dir / "transformer").eval()

    @torch.no_grad()
    def predict(self, network) -> torch.Tensor:
        return network(
            hidden_states=self.latents, timestep=torch.tensor([1000.0]), encoder_hidden_states=self.prompt,
            encoder_attention_mask=torch.ones(self.prompt.shape[:2]), pooled_projections=self.pooled,
            guidance=torch.tensor([6000.0]), return_dict=False,
        )[0].contiguous()

    def predict_with(self, state: dict) -> torch.Tensor:
        network = self.fresh()
        network.load_state_dict(state, strict=True)
        return self.predict(network)


def write_peft_files(base: Base, target: Path) -> None:
    """Files as diffusers and PEFT save them, with alpha unlike the rank."""
    network = base.fresh()
    suffixes = ["to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_v_proj", "net.0.proj", "proj_mlp", "norm_out.linear", "x_embedder.proj"]
    torch.manual_seed(11)
    config = LoraConfig(r=4, lora_alpha=6, target_modules=suffixes, init_lora_weights=False, rank_pattern={"proj_mlp": 2}, alpha_pattern={"proj_mlp": 5})
    network.add_adapter(config, "default")
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft import get_peft_model, get_peft_model_state_dict

    layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(network, adapter_name="default"))
    # Without metadata every rank is the same: for mixed ones diffusers 0.36 takes the first rank as everybody's alpha, which no
    # trainer means.
    plain = base.fresh()
    plain.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=suffixes, init_lora_weights=False), "default")
    uniform = convert_state_dict_to_diffusers(get_peft_model_state_dict(plain, adapter_name="default"))
    HunyuanVideoPipeline.save_lora_weights(target, transformer_lora_layers=uniform, weight_name="diffusers.safetensors")
    metadata = {f"transformer.{k}": sorted(v) if isinstance(v, set) else v for k, v in config.to_dict().items()}
    generator = torch.Generator().manual_seed(13)
    others = {f"transformer.{k}": torch.randn(v.shape, generator=generator) * SIGMA for k, v in layers.items()}
    save_file(others, target / "diffusers_meta.safetensors",
              {"format": "pt", "lora_adapter_metadata": json.dumps(metadata, default=str)})
    wrapped = get_peft_model(base.fresh(), LoraConfig(r=3, lora_alpha=2, use_rslora=True, target_modules=["to_out.0", "linear_2", "proj_out"], init_lora_weights=False))
    torch.manual_seed(12)
    for name, parameter in wrapped.named_parameters():
        if "lora_" in name:
            parameter.data.copy_(torch.randn(parameter.shape) * SIGMA)
    wrapped.save_pretrained(target / "peft")
    (target / "peft" / "README.md").unlink(missing_ok=True)


def side_path(base: Base, target: Path, uses: list) -> torch.Tensor:
    """diffusers' loader and PEFT's side paths."""
    network = base.fresh()
    pipeline = HunyuanVideoPipeline(text_encoder=None, tokenizer=None, transformer=network, vae=None, scheduler=None, text_encoder_2=None, tokenizer_2=None)
    names = []
    for index, (name, _) in enumerate(uses):
        names.append(f"adapter_{index}")
        pipeline.load_lora_weights(target, weight_name=name, adapter_name=names[-1])
    pipeline.set_adapters(names, [scale for _, scale in uses])
    return base.predict(network)


def main() -> None:
    fixtures = Path(sys.argv[1])
    target = fixtures / "adapters"
    target.mkdir(exist_ok=True)
    base = Base(fixtures)
    original = to_original(base.state)
    back = to_diffusers(original, base.hidden)
    assert sorted(back) == sorted(base.state) and all(torch.equal(back[k], base.state[k]) for k in back)

    results, cases = {"none": base.predict(base.network)}, [{"name": "none", "uses": []}]

    def case(name: str, uses: list, result: torch.Tensor) -> None:
        effect = float((result - results["none"]).pow(2).mean().sqrt() / results["none"].pow(2).mean().sqrt())
        assert effect > 0.1, (name, effect)
        print(f"{name}: effect {effect:.3f}")
        results[name] = result
        cases.append({"name": name, "uses": [{"file": file, "scale": scale} for file, scale in uses]})

    write_peft_files(base, target)
    one, meta = ("diffusers.safetensors", 0.8), ("diffusers_meta.safetensors", -0.5)
    case("diffusers", [one], side_path(base, target, [one]))
    case("metadata", [meta], side_path(base, target, [meta]))
    case("two", [one, meta], side_path(base, target, [one, meta]))
    wrapped = PeftModel.from_pretrained(base.fresh(), target / "peft")
    case("peft", [("peft", 1.0)], base.predict(wrapped.base_model.model))

    pipe = factors(original, 21)
    save_file({f"transformer.{m}.lora_{leaf}.weight": t for m, pair in pipe.items() for leaf, t in zip("AB", pair)}, target / "original.safetensors")
    case("original", [("original.safetensors", 0.7)], base.predict_with(to_diffusers(merged(original, pipe, 0.7), base.hidden)))

    def alpha(rank):
        return rank * 0.75 + 0.5

    blocks = factors(original, 22, lambda key: "_blocks" in key and "mod" not in key)
    musubi = {}
    for module, (down, up) in blocks.items():
        name = "lora_unet_" + module.replace(".", "_")
        musubi |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up, f"{name}.alpha": torch.tensor(alpha(down.shape[0]))}
    save_file(musubi, target / "musubi.safetensors")
    case("musubi", [("musubi.safetensors", 1.0)], base.predict_with(to_diffusers(merged(original, blocks, 1.0, alpha), base.hidden)))

    extracted = {m: (d.half(), u.half()) for m, (d, u) in factors(original, 23).items()}
    generator = torch.Generator().manual_seed(24)
    biases = {k: (torch.randn(v.shape, generator=generator) * 0.1).half() for k, v in sorted(original.items()) if k.startswith("single_blocks") and k.endswith("linear1.bias")}
    files = {f"diffusion_model.{comfy(m)}.lora_{leaf}.weight": t for m, pair in extracted.items() for leaf, t in zip(("down", "up"), pair)}
    files |= {f"diffusion_model.{comfy(k.removesuffix('.bias'))}.diff_b": v for k, v in biases.items()}
    whole = (torch.randn(original["vector_in.in_layer.weight"].shape, generator=generator) * 0.05).half()
    for leaf in ("down", "up"):
        del files[f"diffusion_model.vector_in.in_layer.lora_{leaf}.weight"]
    del extracted["vector_in.in_layer"]
    files["diffusion_model.vector_in.in_layer.diff"] = whole
    save_file(files, target / "comfy.safetensors")
    state = merged(original, {m: (d.float(), u.float()) for m, (d, u) in extracted.items()}, 0.5)
    for key, value in biases.items():
        state[key] = state[key] + 0.5 * value.float()
    state["vector_in.in_layer.weight"] = state["vector_in.in_layer.weight"] + 0.5 * whole.float()
    case("comfy", [("comfy.safetensors", 0.5)], base.predict_with(to_diffusers(state, base.hidden)))
    both = merged(merged(original, pipe, 0.3), blocks, 0.6, alpha)
    case("mixed", [("original.safetensors", 0.3), ("musubi.safetensors", 0.6)], base.predict_with(to_diffusers(both, base.hidden)))

    (target / "cases.json").write_text(json.dumps(cases, indent=2) + "\n")
    save_file({k: v.contiguous() for k, v in results.items()}, target / "reference.safetensors")


if __name__ == "__main__":
    main()
