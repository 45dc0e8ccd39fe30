"""Training: teacher forcing, scheduled sampling, and the time of a step with other layers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

import rnnfast.torch
from examples.common import Run, compare
from examples.seq2seq.data import Pair, Task
from examples.seq2seq.model import Plain, State, Translator
from rnnfast import decoding

HIDDEN, BATCH, RATE = 128, 128, 5e-3

Batch = tuple[Tensor, Tensor, Tensor]
Numbers = np.ndarray[tuple[int], np.dtype[np.int64]]


def batch_of(task: Task, pairs: list[Pair]) -> Batch:
    """Return texts (S, B), what the decoder reads (T, B), and the answers (T, B)."""
    targets = task.encode([answer for _, answer in pairs])
    inputs = torch.cat([torch.ones_like(targets[:1]), targets[:-1]])
    return task.encode([text for text, _ in pairs]), inputs, targets


def loss_of(scores: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy of the characters of the answers, without padding."""
    return cross_entropy(scores.flatten(0, 1), targets.flatten(), ignore_index=0)


def writer(model: Translator) -> Callable[[Numbers, State], tuple[Tensor, State]]:
    """Return a step of the decoder as `rnnfast.decoding` takes it."""

    def step(tokens: Numbers, state: State) -> tuple[Tensor, State]:
        with torch.no_grad():
            scores, state = model.decoder(torch.from_numpy(tokens)[None], state)
        return scores[0], state

    return step


def translator_loss(model: Translator, batch: Batch, keep: float = 1.0, seed: int = 0) -> Tensor:
    """Return the loss of a batch in which inputs are kept with a probability, or else drawn."""
    texts, inputs, targets = batch
    state = model.read(texts)
    if keep < 1:
        fixed = tuple(part.detach() for part in state)
        mixed = decoding.scheduled_sampling(
            writer(model), inputs.numpy(), fixed, probability=keep, seed=seed
        )
        inputs = torch.from_numpy(mixed)
    return loss_of(model.decoder(inputs, state)[0], targets)


def learn(
    run: Run, task: Task, steps: int, networks: tuple[Translator, Plain], least: float
) -> None:
    """Train both networks on the same batches; the share of right inputs falls to `least`."""
    rng = np.random.default_rng(run.seed)
    modules: list[torch.nn.Module] = [*networks]
    optimizers = [torch.optim.Adam(network.parameters(), lr=RATE) for network in modules]
    schedules = [
        torch.optim.lr_scheduler.OneCycleLR(o, max_lr=RATE, total_steps=steps, pct_start=0.1)
        for o in optimizers
    ]
    for i in range(steps):
        batch = batch_of(task, [task.train[j] for j in rng.integers(len(task.train), size=BATCH)])
        keep = decoding.linear_probability(i, slope=(1 - least) / steps, least=least)
        scores = networks[1](batch[0])
        losses = [
            translator_loss(networks[0], batch, keep, i),
            loss_of(scores[: len(batch[2])], batch[2]),
        ]
        for network, optimizer, schedule, loss in zip(
            modules, optimizers, schedules, losses, strict=True
        ):
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        if (i + 1) % (steps // 10) == 0:
            print(f"step {i + 1} of {steps}: loss {losses[0]:.4f}, baseline {losses[1]:.4f}")


def compare_layers(run: Run, task: Task, attention: bool) -> None:
    """Print the times of a training step with torch.nn's layers and with ours, in turns."""
    theirs, ours = (
        Translator(len(task.characters), HIDDEN, attention, layers)
        for layers in (torch.nn, rnnfast.torch)
    )
    ours.load_state_dict(theirs.state_dict())
    batch = batch_of(task, task.train[:BATCH])
    compare(run, lambda model: translator_loss(model, batch), theirs, ours)
