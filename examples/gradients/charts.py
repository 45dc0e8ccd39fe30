"""The figures, as small SVG files that are the same for the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from .tasks import EVERY, NETWORKS, TASKS, Outcome

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "rnnfast",
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
}


def save(figure: Any, path: Path) -> None:
    """Write a figure without the date and without spaces at the ends of lines."""
    drawn = StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    path.write_text("\n".join(line.rstrip() for line in drawn.getvalue().splitlines()) + "\n")


def lines(path: Path, curves: dict[str, list[float]], title: str, x: str, y: str) -> None:
    """Draw a line for each list of numbers."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.5, 3.4), layout="constrained")
        axes = figure.subplots()
        for name, values in curves.items():
            every = max(1, len(values) // 200)
            axes.plot(range(0, len(values), every), values[::every], label=name)
        axes.set(title=title, xlabel=x, ylabel=y)
        axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    save(figure, path)


def learning(path: Path, task: str, outcomes: Sequence[Outcome]) -> None:
    """Draw the losses of all networks that tried to learn a task, with a panel for each T."""
    lengths = sorted({o.run.T for o in outcomes})
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.2 * len(lengths), 3.2), layout="constrained")
        panels = figure.subplots(1, len(lengths), sharey=True, squeeze=False)[0]
        for axes, T in zip(panels, lengths, strict=True):
            for k, network in enumerate(NETWORKS):
                runs = [o for o in outcomes if (o.run.T, o.run.network) == (T, network)]
                for number, outcome in enumerate(runs):
                    updates = [EVERY * (i + 1) for i in range(len(outcome.losses))]
                    label = network if number == 0 else None
                    axes.semilogy(updates, outcome.losses, color=f"C{k}", label=label, lw=1)
            axes.axhline(TASKS[task].without_memory, color="grey", ls="--", lw=1)
            axes.set(title=f"{task}, T = {T}", xlabel="updates", ylim=(None, 4))
        panels[0].set_ylabel("loss")
        panels[0].legend(fontsize=7, loc="center right")
    save(figure, path)
