"""Several processes that train one model on different clips (`torchrun --nproc-per-node N -m training ...`).

On a machine whose cores are busy with other work, processes of one thread each lose less than one process whose
threads wait for each other in every operation.
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


def average_gradients(parameters):
    """Replaces every gradient by its mean over the processes, in one exchange."""
    if not dist.is_initialized():
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, mean in zip(gradients, flat.split([gradient.numel() for gradient in gradients])):
        gradient.copy_(mean.view_as(gradient))
