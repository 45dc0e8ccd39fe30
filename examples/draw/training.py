"""Training: the bound of the log-likelihood rises; and the time of a step with other layers."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

import rnnfast.torch
from examples.common import Floats, Run, compare
from examples.draw.data import SIZE, black_and_white
from examples.draw.model import Draw, log_likelihood

HIDDEN, LATENT, STROKES = 96, 8, 8
BATCH, RATE = 64, 4e-3
DRAWS = 10  # of the latent variables, for the bound of the test


def learn(run: Run, images: Floats, steps: int, networks: dict[str, nn.Module]) -> None:
    """Train all networks on the same batches."""
    generator = np.random.default_rng(run.seed)
    optimizers = [torch.optim.Adam(network.parameters(), lr=RATE) for network in networks.values()]
    schedules = [
        torch.optim.lr_scheduler.OneCycleLR(o, max_lr=RATE, total_steps=steps, pct_start=0.1)
        for o in optimizers
    ]
    for i in range(steps):
        batch = black_and_white(images[generator.integers(len(images), size=BATCH)], generator)
        bounds = []
        for network, optimizer, schedule in zip(
            networks.values(), optimizers, schedules, strict=True
        ):
            bounds.append(network(batch).mean())
            optimizer.zero_grad()
            (-bounds[-1]).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
            optimizer.step()
            schedule.step()
        if (i + 1) % (steps // 10) == 0:
            shown = [f"{name} {bound:.2f}" for name, bound in zip(networks, bounds, strict=True)]
            print(f"step {i + 1} of {steps}: bound of", ", ".join(shown))


def mean_bound(network: nn.Module, images: Tensor) -> float:
    """Return the bound of the log-likelihood of images in nats, the mean of several draws."""
    with torch.no_grad():
        return float(np.mean([network(images).mean().item() for _ in range(DRAWS)]))


def independent_pixels(train: Tensor, test: Tensor) -> float:
    """Return the mean log-likelihood of the test if pixels know nothing of each other."""
    shares = (train.sum(dim=0) + 0.5) / (len(train) + 1)  # never 0 or 1
    return float(log_likelihood(test, shares.logit().expand_as(test)).mean())


def compare_layers(run: Run, images: Floats, attention: bool) -> None:
    """Print the times of a training step with torch.nn's layers and with ours, in turns."""
    theirs, ours = (
        Draw(SIZE, HIDDEN, LATENT, STROKES, attention, layers)
        for layers in (torch.nn, rnnfast.torch)
    )
    ours.load_state_dict(theirs.state_dict())
    batch = black_and_white(images[:BATCH])

    def loss_of(model: Draw) -> Tensor:
        torch.manual_seed(run.seed)  # of the latent variables
        return -model(batch).mean()

    compare(run, loss_of, theirs, ours)
