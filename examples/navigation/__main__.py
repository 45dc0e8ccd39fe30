"""Language navigation: an instruction and a local view in, moves through unseen rooms out.

    python -m examples.navigation
    python -m examples.navigation --compare

"Go through the red door, turn left at the lamp and stop at the second chair": an LSTM reads the
instruction in both directions. An LSTM cell moves: in each step it gets what the agent sees, five
cells wide, and the words at which it looks. First it imitates a teacher on the shortest path, then
it learns by reinforcement, with the extrinsic reward of Wang et al. 2018. The test is routes in
worlds that the training has not seen; only a stop on the right cell is a success. The baseline is
the same network without the instructions, after imitation. `--compare` times a step of training
with the layers of torch.nn, too.
"""

from __future__ import annotations

import textwrap
from dataclasses import replace

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from examples.common import Run, option_parser, start
from examples.navigation.model import Agent
from examples.navigation.routes import Routes, make_routes
from examples.navigation.training import (
    IMITATION_RATE,
    REINFORCEMENT_RATE,
    Walk,
    compare_layers,
    imitation_loss,
    learn,
    likeliest,
    new_agent,
    reinforcement_loss,
    walk,
)
from examples.navigation.worlds import DOOR, HEADINGS, OBJECT, SIZE, WALL, names_of

WORLDS, QUICK_WORLDS = 5000, 1000
TESTED, QUICK_TESTED = 400, 200  # worlds
EACH = 4  # routes that are tried in a world
IMITATION, QUICK_IMITATION = 1200, 180  # batches
REINFORCEMENT, QUICK_REINFORCEMENT = 300, 20
QUICK_BAR = 0.12  # share of successes that --quick reaches
INKS = {"red": "#d62728", "green": "#2ca02c", "blue": "#1f77b4", "yellow": "#e3b505"}
MARKERS = {"lamp": "*", "chair": "h", "plant": "^"}


def without_words(routes: Routes) -> Routes:
    """Return the routes with empty instructions."""
    return replace(routes, texts=[""] * len(routes))


def walk_best(agent: Agent, routes: Routes) -> Walk:
    """Let an agent do what is likeliest in its eyes."""
    with torch.no_grad():
        return walk(agent.eval(), routes, likeliest)


def tell(name: str, done: Walk) -> None:
    """Print how well an agent has walked.

    SPL is the mean of successes, each times the share of its moves that a shortest path has.
    """
    share = done.left[0] / np.maximum(done.moves, done.left[0])
    print(
        f"{name}: success {done.success.mean():.4f}, SPL {np.mean(done.success * share):.4f},",
        f"{done.moves.mean():.1f} moves (shortest paths: {done.left[0].mean():.1f})",
    )


def train(name: str, run: Run, routes: Routes, unseen: Routes, batches: tuple[int, int]) -> Agent:
    """Return an agent after batches of imitation and then of reinforcement, if any."""
    torch.manual_seed(run.seed)
    generator = np.random.default_rng(run.seed)
    agent = new_agent()
    for loss_of, count, rate in zip(
        (imitation_loss, reinforcement_loss),
        batches,
        (IMITATION_RATE, REINFORCEMENT_RATE),
        strict=True,
    ):
        if count:
            learn(agent, routes, loss_of, count, rate, generator)
            tell(f"{name}, {count} batches of {loss_of.__name__}", walk_best(agent, unseen))
    return agent


def draw_world(axes: Axes, routes: Routes, done: Walk, index: int) -> None:
    """Draw a world, the path of the teacher and that of the agent, and the instruction."""
    world = routes.worlds[index]
    axes.imshow(np.where(world == WALL, 0.35, 1), cmap="gray", vmin=0, vmax=1)
    for row, column in np.argwhere(world >= DOOR):
        colour, thing = names_of(int(world[row, column]))
        marker, size = ("s", 130) if world[row, column] < OBJECT else (MARKERS[thing], 60)
        axes.scatter(
            column, row, size, INKS[colour], marker=marker, edgecolors="black", linewidths=0.5
        )
    places = done.states[: done.moves[index] + 1, index]
    axes.plot(places[:, 1], places[:, 0], color="black", linewidth=2)
    row, column, heading = routes.starts[index]
    down, right = 0.6 * HEADINGS[heading]
    axes.arrow(column, row, right, down, head_width=0.6, color="black", linewidth=2)
    target = np.argwhere(routes.left[index, ..., 0] == 0)[0]
    axes.scatter(target[1], target[0], 150, "none", edgecolors="magenta", linewidths=2)
    verdict = "" if done.success[index] else "FAILS: "
    text = textwrap.fill(verdict + routes.texts[index], 44)
    axes.set_title(text, fontsize=9, color="black" if done.success[index] else "red", va="bottom")
    axes.set(xticks=[], yticks=[], xlim=(-0.5, SIZE - 0.5), ylim=(SIZE - 0.5, -0.5))


def draw(run: Run, routes: Routes, done: Walk) -> None:
    """Draw routes in different worlds: four that the agent follows, and two on which it fails."""
    long = np.flatnonzero(done.left[0] > 9)
    _, first = np.unique(routes.worlds[long], axis=0, return_index=True)
    chosen = long[np.sort(first)]
    followed, missed = chosen[done.success[chosen]][:4], chosen[~done.success[chosen]][:2]
    picture = Figure(figsize=(12, 9.5), layout="constrained")
    grid = picture.subplots(2, 3)
    for axes, index in zip(grid.flat, [*followed, *missed], strict=False):
        draw_world(axes, routes, done, index)
    for thing, marker in {"door": "s", **MARKERS}.items():
        grid[1, 1].scatter([], [], 45, "white", marker=marker, edgecolors="black", label=thing)
    grid[1, 1].scatter([], [], 60, "none", edgecolors="magenta", label="target")
    picture.legend(loc="outside lower center", ncols=5)
    run.save(picture)


def main() -> None:
    """Train the agent and the baseline, and compare them in worlds that neither has seen."""
    parser = option_parser(__package__, __doc__)
    parser.add_argument("--compare", action="store_true", help="time torch.nn's layers, too")
    options = parser.parse_args()
    run = start(options)
    worlds, tested = (QUICK_WORLDS, QUICK_TESTED) if run.quick else (WORLDS, TESTED)
    routes = make_routes(worlds, EACH, np.random.default_rng([run.seed, 0]))
    unseen = make_routes(tested, EACH, np.random.default_rng([run.seed, 1]))
    print(f"{len(routes)} routes to learn from, {len(unseen)} in unseen worlds")
    if options.compare:
        compare_layers(run, routes)
    imitation, reinforcement = (
        (QUICK_IMITATION, QUICK_REINFORCEMENT) if run.quick else (IMITATION, REINFORCEMENT)
    )
    agent = train("the agent", run, routes, unseen, (imitation, reinforcement))
    silent = without_words(routes), without_words(unseen)
    baseline = train("without words", run, *silent, (imitation, 0))
    done, guessed = walk_best(agent, unseen), walk_best(baseline, silent[1])
    draw(run, unseen, done)
    run.finish("share of successes", done.success.mean(), guessed.success.mean())


if __name__ == "__main__":
    main()
