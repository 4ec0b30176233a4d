"""Muon: momentum whose update is made nearly orthogonal before it is applied.

Every filter then moves at its own pace. With Adam the 27 taps of a 3x3x3 filter move together on flat content, and small
convolutional autoencoders stall. Matrices of one shape are handled together, since small kernels cost a GPU their launch.
"""

import torch


def orthogonalised(matrices, rounds=5):
    """Matrices (N, m, n) with the same singular vectors and singular values near one (Newton-Schulz iteration)."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x.bfloat16()
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(rounds):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return (x.mT if tall else x).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """For weights of two and more dimensions; the root mean square of a step is 0.2 `lr` whatever the shape."""

    def __init__(self, parameters, lr, momentum=0.95):
        super().__init__(parameters, dict(lr=lr, momentum=momentum))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            alike = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    alike.setdefault(parameter.shape, []).append(parameter)
            for parameters in alike.values():
                self._step_of(parameters, group["lr"], group["momentum"])

    def _step_of(self, parameters, rate, momentum):
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        buffers = [self.state[parameter]["momentum"] for parameter in parameters]
        gradients = [parameter.grad for parameter in parameters]
        torch._foreach_lerp_(buffers, gradients, 1 - momentum)
        wanted = torch._foreach_lerp(gradients, buffers, momentum)
        updates = orthogonalised(torch.stack([value.flatten(1) for value in wanted]))
        size = 0.2 * max(updates.shape[1:]) ** 0.5
        shaped = [update.reshape(parameters[0].shape) for update in updates]
        torch._foreach_add_(parameters, shaped, alpha=-rate * size)


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
