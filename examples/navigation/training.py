"""Training on walks through worlds: imitation of the teacher, then reinforcement.

Imitation makes the teacher's next action likely. Reinforcement is REINFORCE; its baseline, which is
learned, too, is the return that the agent expects. The reward of a step is the extrinsic one of
Wang et al. 2018, "Reinforced cross-modal matching and self-supervised imitation learning"
(arXiv:1811.10092): the moves by which it brings the agent closer to its target, and a bonus for a
stop there.

Sizes: T steps, B agents.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

import rnnfast.torch
from examples.common import Integers, Run, compare
from examples.navigation.instructions import WORDS, split
from examples.navigation.model import Agent
from examples.navigation.routes import Routes
from examples.navigation.teacher import left_at
from examples.navigation.worlds import STOP, move, views

HIDDEN, BATCH = 128, 64
IMITATION_RATE, REINFORCEMENT_RATE = 5e-3, 1e-3
LIMIT = 30  # steps, after which an agent is lost
DISCOUNT = 0.95
CLOSER, ARRIVED = 0.2, 1.0  # rewards of a move and of the right stop

# Returns what agents do, (B,), for the scores of their actions, (B, 4), and the teacher's advice.
Choice = Callable[[Tensor, Tensor], Tensor]


def obey(_scores: Tensor, advised: Tensor) -> Tensor:
    """Do what the teacher does."""
    return advised


def draw(scores: Tensor, _advised: Tensor) -> Tensor:
    """Draw actions from their distribution."""
    return torch.multinomial(scores.softmax(dim=1), 1)[:, 0]


def likeliest(scores: Tensor, _advised: Tensor) -> Tensor:
    """Take the actions with the highest scores."""
    return scores.argmax(dim=1)


@dataclass(frozen=True)
class Walk:
    """What agents did until all had stopped or were lost.

    Attributes:
        scores: Scores of the actions, (T, B, 4).
        expected: Returns that the agents expected, (T, B).
        actions: What they did, (T, B); STOP after they had stopped.
        advised: What the teacher would have done, (T, B).
        states: States before each step and after the last one, (T + 1, B, 3).
        left: Moves that were left to the target in these states, (T + 1, B).
    """

    scores: Tensor
    expected: Tensor
    actions: Tensor
    advised: Tensor
    states: Integers
    left: Integers

    @property
    def going(self) -> NDArray[np.bool_]:
        """Whether agents had not stopped before a step, (T, B)."""
        stopped = np.logical_or.accumulate(self.actions.numpy() == STOP)
        return np.concatenate([np.ones_like(stopped[:1]), ~stopped[:-1]])

    @property
    def success(self) -> NDArray[np.bool_]:
        """Whether agents have stopped on their targets, (B,)."""
        arrived: NDArray[np.bool_] = (self.actions[-1].numpy() == STOP) & (self.left[-1] == 0)
        return arrived

    @property
    def moves(self) -> Integers:
        """Numbers of moves and turns, without the stop, (B,)."""
        count: Integers = (self.going & (self.actions.numpy() != STOP)).sum(axis=0)
        return count

    def returns(self) -> Tensor:
        """Return the discounted sums of the rewards from each step on, (T, B)."""
        arrives = self.going & (self.actions.numpy() == STOP) & (self.left[1:] == 0)
        rewards = CLOSER * (self.left[:-1] - self.left[1:]) + ARRIVED * arrives
        for t in reversed(range(len(rewards) - 1)):
            rewards[t] += DISCOUNT * rewards[t + 1]
        return torch.from_numpy(rewards).to(self.expected.dtype)


def encode(texts: list[str]) -> Tensor:
    """Return the numbers of words, (S, B): 1 before each text, so none is empty, and 0 after it."""
    numbers = {word: i for i, word in enumerate(WORDS, 2)}
    rows = [torch.tensor([1, *(numbers[word] for word in split(text))]) for text in texts]
    return torch.nn.utils.rnn.pad_sequence(rows)


def new_agent(layers: object = rnnfast.torch) -> Agent:
    """Return an agent that knows all words of the instructions."""
    return Agent(len(WORDS) + 2, HIDDEN, layers)


def walk(agent: Agent, routes: Routes, choose: Choice) -> Walk:
    """Let agents walk along routes."""
    read = agent.read(encode(routes.texts))
    memory = agent.start(len(routes))
    states, actions = [routes.starts], torch.full((len(routes),), STOP)
    going = torch.ones(len(routes), dtype=torch.bool)
    steps: list[tuple[Tensor, ...]] = []
    while going.any() and len(steps) < LIMIT:
        seen = torch.from_numpy(views(routes.worlds, states[-1]))
        advised = torch.from_numpy(routes.advice(states[-1]))
        scores, expected, memory = agent(seen, actions, read, memory)
        with torch.no_grad():
            actions = choose(scores, advised).masked_fill(~going, STOP)
        steps.append((scores, expected, actions, advised))
        states.append(move(routes.worlds, states[-1], actions.numpy()))
        going = going & (actions != STOP)
    scores, expected, actions, advised = (torch.stack(part) for part in zip(*steps, strict=True))
    left = np.array([left_at(routes.left, state) for state in states])
    return Walk(scores, expected, actions, advised, np.array(states), left)


def imitation_loss(agent: Agent, routes: Routes) -> Tensor:
    """Return the cross-entropy of the teacher's actions on its path, and the baseline's loss."""
    done = walk(agent, routes, obey)
    going = torch.from_numpy(done.going)
    loss = cross_entropy(done.scores[going], done.advised[going])
    return loss + mse_loss(done.expected[going], done.returns()[going])


def reinforcement_loss(agent: Agent, routes: Routes) -> Tensor:
    """Return a loss with the gradient of REINFORCE on drawn actions, and the baseline's loss."""
    done = walk(agent, routes, draw)
    going = torch.from_numpy(done.going)
    returns, expected = done.returns()[going], done.expected[going]
    surprise = cross_entropy(done.scores[going], done.actions[going], reduction="none")
    return ((returns - expected.detach()) * surprise).mean() + mse_loss(expected, returns)


def learn(
    agent: Agent,
    routes: Routes,
    loss_of: Callable[[Agent, Routes], Tensor],
    batches: int,
    rate: float,
    generator: np.random.Generator,
) -> None:
    """Train an agent on batches of routes, varied each time."""
    optimizer = torch.optim.Adam(agent.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=rate, total_steps=batches, pct_start=0.1
    )
    for batch in range(1, batches + 1):
        chosen = routes[generator.integers(len(routes), size=BATCH)]
        loss = loss_of(agent, chosen.varied(generator))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(agent.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if batch % max(1, batches // 10) == 0:
            print(f"batch {batch} of {batches}: {loss_of.__name__} {loss.item():.4f}")


def compare_layers(run: Run, routes: Routes) -> None:
    """Print the times of a step of imitation with torch.nn's layers and with ours, in turns."""
    theirs, ours = new_agent(torch.nn), new_agent()
    ours.load_state_dict(theirs.state_dict())
    batch = routes[np.arange(BATCH)]
    compare(run, lambda agent: imitation_loss(agent, batch), theirs, ours)
