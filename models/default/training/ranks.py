"""Several processes that train one model on different clips (`torchrun --nproc-per-node N -m training ...`).

On a machine whose cores are busy with other work, processes of one thread each lose less than one process whose
threads wait for each other in every operation. Each makes several steps of its own before they meet and average what
they have (local SGD), so that none waits for another in every step.
"""

import os

import torch
import torch.distributed as dist


def start(device):
    """Joins the other processes when started by torchrun; returns this one's number and how many there are."""
    if "WORLD_SIZE" not in os.environ:
        return 0, 1
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return dist.get_rank(), dist.get_world_size()


def agree(value, device):
    """The first process's value, in all of them."""
    if not dist.is_initialized():
        return value
    shared = torch.tensor([value], dtype=torch.float64, device=device)
    dist.broadcast(shared, 0)
    return float(shared)


@torch.no_grad()
def average_parameters(parameters):
    """Replaces every parameter by its mean over the processes, in one exchange."""
    if not dist.is_initialized():
        return
    parameters = list(parameters)
    flat = torch.cat([parameter.flatten() for parameter in parameters])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for parameter, mean in zip(parameters, flat.split([parameter.numel() for parameter in parameters])):
        parameter.copy_(mean.view_as(parameter))
