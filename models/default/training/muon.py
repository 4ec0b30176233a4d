"""Muon: momentum whose update is made nearly orthogonal before it is applied.

Every filter then moves at its own pace. With Adam the 27 taps of a 3x3x3 filter move together on flat content, and
small convolutional autoencoders stall.
"""

import torch


def orthogonalised(matrix, rounds=5):
    """A matrix with the same singular vectors and singular values near one (Newton-Schulz iteration)."""
    flat = matrix.flatten(1).bfloat16()
    tall = flat.shape[0] > flat.shape[1]
    x = flat.T if tall else flat
    x = x / (x.norm() + 1e-7)
    for _ in range(rounds):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return (x.T if tall else x).to(matrix.dtype).reshape(matrix.shape)


class Muon(torch.optim.Optimizer):
    """For weights of two and more dimensions; the root mean square of a step is 0.2 `lr` whatever the shape."""

    def __init__(self, parameters, lr, momentum=0.95):
        super().__init__(parameters, dict(lr=lr, momentum=momentum))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                buffer = state["momentum"]
                buffer.lerp_(parameter.grad, 1 - group["momentum"])
                update = orthogonalised(parameter.grad.lerp(buffer, group["momentum"]))
                fan_out, fan_in = parameter.shape[0], parameter[0].numel()
                parameter.add_(update, alpha=-group["lr"] * 0.2 * max(fan_out, fan_in) ** 0.5)


def optimizers(named_parameters, muon_lr, adam_lr, is_matrix):
    """Muon for what `is_matrix(name, parameter)` selects, AdamW for the rest, each with its peak rate noted."""
    matrices, others = [], []
    for name, parameter in named_parameters:
        (matrices if is_matrix(name, parameter) else others).append(parameter)
    pair = [Muon(matrices, lr=muon_lr), torch.optim.AdamW(others, lr=adam_lr, betas=(0.9, 0.98), weight_decay=0.0)]
    for optimizer in pair:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return pair


def set_rate(pair, factor):
    """Sets every learning rate to `factor` of its peak."""
    for optimizer in pair:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor
