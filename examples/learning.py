"""The training loop of the examples on scenes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def learn(
    name: str, network: nn.Module, loss_of: Callable[[], Tensor], steps: int, rate: float
) -> None:
    """Train a network, and leave it in evaluation mode and without gradients.

    Args:
        name: What the lines of progress call the network.
        network: The network.
        loss_of: Returns the loss of a new batch.
        steps: The number of batches.
        rate: The largest learning rate, which is reached after a fifth of the steps.
    """
    optimizer = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.2)
    network.train()
    for step in range(1, steps + 1):
        loss = loss_of()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % (steps // 5) == 0:
            print(f"{name}, step {step} of {steps}: loss {loss.item():.4f}")
    network.eval().requires_grad_(False)
