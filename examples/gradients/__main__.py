"""Run all experiments on gradients: print their tables, write figures and figures' numbers.

python -m examples.gradients [--quick] [--seed N] [--seeds N] [--output DIR]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import rnnfast

from . import charts
from .clipping import clipping
from .depth import through_depth
from .tasks import NETWORKS, TASKS, Outcome, Run, learn
from .through_time import forget_gates, initial_weights, singular_values

Rows = Sequence[dict[str, Any]]


def main() -> None:
    """Run the experiments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller networks, less than a minute")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument(
        "--seeds", type=int, default=1, help="how many seeds the two tasks run with"
    )
    parser.add_argument("--processes", type=int, default=2, help="runs at the same time")
    parser.add_argument("--output", type=Path, default=Path("results"), help="folder to write to")
    options = parser.parse_args()
    rnnfast.set_num_threads(1)  # the networks are small, and the tasks run side by side
    options.output.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {"seed": options.seed, "quick": options.quick}

    found["singular values"], curves = singular_values(100, options.seed)
    back, log = "steps back from the end", "log10 of the gradient"
    draw = options.output
    charts.lines(draw / "singular_values.svg", curves, "tanh RNN", back, log)
    found["clipping"], curves = clipping(100, options.seed)
    charts.lines(draw / "clipping.svg", curves, "gradient descent", "updates", "log10 of the loss")
    found["forget gates"], curves = forget_gates(500, options.seed)
    charts.lines(draw / "forget_gates.svg", curves, "gradient of an LSTM's c", back, log)
    found["initial weights"], curves = initial_weights(200, options.seed)
    charts.lines(draw / "initial_weights.svg", curves, "initial weights", back, log)
    found["depth"], curves = through_depth(50, options.seed)
    charts.lines(draw / "depth.svg", curves, "50 layers", "layers back from the last", log)
    for name, rows in found.items():
        if isinstance(rows, list):
            print_table(name, rows)

    outcomes = learn_all(runs(options.quick, options.seed, options.seeds), options.processes)
    for task in TASKS:
        of_task = [outcome for outcome in outcomes if outcome.run.task == task]
        print_table(f"{task}: updates until solved", table_of(of_task))
        charts.learning(draw / f"{task}.svg", task, of_task)
    found["tasks"] = [asdict(outcome) for outcome in outcomes]
    (options.output / "results.json").write_text(json.dumps(found, indent=1))


def runs(quick: bool, seed: int, seeds: int) -> list[Run]:
    """Return the runs of the two tasks, the longest first."""
    if quick:
        chosen = [("adding", 30), ("copying", 10)]
        limits = {"updates": 600, "hidden": 32}
    else:
        chosen = [(task, T) for T in (400, 200, 100) for task in TASKS]
        limits = {"updates": 5000}
    return [
        Run(task, network, T, seed + k, **limits)
        for k in range(seeds)
        for task, T in chosen
        for network in NETWORKS
    ]


def learn_all(todo: Sequence[Run], processes: int) -> list[Outcome]:
    """Make all runs, several at a time, each on one thread."""
    with ProcessPoolExecutor(
        processes, get_context("spawn"), rnnfast.set_num_threads, (1,)
    ) as pool:
        outcomes = []
        for outcome in pool.map(learn, todo):
            run = outcome.run
            print(
                f"{run.task}, T = {run.T}, {run.network}, seed {run.seed}: "
                f"loss {outcome.losses[-1]:.4f} after {outcome.seconds:.0f} s",
                flush=True,
            )
            outcomes.append(outcome)
    return outcomes


def table_of(outcomes: Sequence[Outcome]) -> Rows:
    """Return a row for each network, with the updates for each T and seed, and the last losses."""
    rows = []
    for network in NETWORKS:
        row: dict[str, Any] = {"network": network}
        for outcome in (o for o in outcomes if o.run.network == network):
            solved, loss = outcome.solved_after, outcome.losses[-1]
            column = f"T = {outcome.run.T}" + (f", seed {outcome.run.seed}")
            row[column] = f"no: {loss:.3f}" if solved is None else solved
        rows.append(row)
    return rows


def print_table(title: str, rows: Rows) -> None:
    """Print rows below each other, numbers with four digits."""
    cells = [list(rows[0])]
    cells += [[f"{v:.4g}" if isinstance(v, float) else str(v) for v in r.values()] for r in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    print(f"\n{title}")
    for row in cells:
        print("  ".join(map(str.ljust, row, widths)).rstrip())


if __name__ == "__main__":
    main()
