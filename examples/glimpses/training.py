"""Training: the classes by cross-entropy, and where to look by REINFORCE with a learned baseline.

Williams 1992, "Simple statistical gradient-following algorithms for connectionist reinforcement
learning".
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from examples.common import Floats, Integers, Run
from examples.glimpses.data import DIGIT, SIZE, scenes
from examples.glimpses.model import Policy, Reader, Reading

BATCH, RATE = 64, 2.5e-3
WIDEST, NARROWEST = 0.4, 0.05  # standard deviation of the places at the start and at the end


def as_chosen(chosen: Tensor) -> Tensor:
    """Look where the network has chosen to."""
    return chosen


def anywhere(chosen: Tensor) -> Tensor:
    """Look at a random one of the places where the middle of a digit may be."""
    return (2 * torch.rand_like(chosen) - 1) * (SIZE - DIGIT) / SIZE


def around(deviation: float) -> Policy:
    """Return a policy that looks near where the network has chosen to."""
    return lambda chosen: chosen + deviation * torch.randn_like(chosen)


def right_digits(reading: Reading, classes: Tensor) -> Tensor:
    """Return which digits are right, (2, B)."""
    return reading.scores.argmax(dim=2) == classes


def policy_loss(reading: Reading, classes: Tensor, deviation: float) -> Tensor:
    """Return a loss whose gradient is that of REINFORCE, plus the loss of the baseline.

    The reward of a glimpse is 1 if the digit that it belongs to is right, and 0 if not.
    """
    glimpses = len(reading.places) // len(classes)
    rewards = right_digits(reading, classes).float().repeat_interleave(glimpses, dim=0)
    log_density = -(reading.places - reading.chosen).square().sum(dim=2) / (2 * deviation**2)
    surprise = rewards - reading.expected.detach()
    return mse_loss(reading.expected, rewards) - (surprise * log_density).mean()


def learn(
    run: Run, reader: Reader, images: Floats, classes: Integers, steps: int, fixed: Policy | None
) -> None:
    """Train a network to read, and to look unless the policy is fixed."""
    generator = np.random.default_rng(run.seed)
    optimizer = torch.optim.Adam(reader.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=RATE, total_steps=steps, pct_start=0.1
    )
    for i in range(steps):
        made = scenes(images, classes, BATCH, generator, vary=True)
        seen, answers = map(torch.from_numpy, made)
        deviation = WIDEST + (NARROWEST - WIDEST) * i / steps
        reading = reader(seen, fixed or around(deviation))
        loss = cross_entropy(reading.scores.flatten(0, 1), answers.flatten())
        total = loss if fixed else loss + policy_loss(reading, answers, deviation)
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if (i + 1) % (steps // 10) == 0:
            share = right_digits(reading, answers).float().mean()
            print(f"step {i + 1} of {steps}: loss {loss:.4f}, {share:.3f} of the digits are right")
