"""What the flow of a gradient looks like: a table, and a figure by matplotlib."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from rnnfast.inspection.layer_flow import LayerFlow
from rnnfast.inspection.scaled import Array
from rnnfast.inspection.tables import html_table
from rnnfast.training.figure import check_installed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HEADER = ("layer", "gradient at the end", "at the start", "memory", "gain of a step", "saturated")


def table_of(layers: Mapping[str, LayerFlow]) -> list[tuple[str, ...]]:
    """Return the rows of a table, the first of which is its header.

    Norms are roots of mean squares over the batch; memory and gain are medians.
    """
    return [_HEADER, *(_row(name, layer) for name, layer in layers.items())]


def _row(name: str, layer: LayerFlow) -> tuple[str, ...]:
    columns = np.arange(len(layer.lengths))
    ends = (layer.log_total[layer.lengths, columns], layer.log_total[0])
    sizes = [_power_of_ten(_log_mean(values)) for values in ends]
    memory = layer.memory[~np.isnan(layer.memory)]
    shares = [gate.share for gate in layer.saturation.values()]
    return (
        name,
        *sizes,
        _steps(float(np.median(memory))) if memory.size else "-",
        f"{np.median(layer.step_gain):.3f}" if layer.step_gain.size else "-",
        f"{np.mean(shares):.1%}" if shares else "-",
    )


def _steps(count: float) -> str:
    """Return a number of steps in words."""
    if np.isinf(count):
        return "beyond the start"
    return f"{count:.0f} step{'' if round(count) == 1 else 's'}"


def _log_mean(log_norms: Array) -> float:
    """Return the logarithm of the root of the mean square of some norms, from their logarithms."""
    largest = float(log_norms.max(initial=-np.inf))
    if not np.isfinite(largest):
        return largest
    return largest + 0.5 * float(np.log(np.mean(np.exp(2 * (log_norms - largest)))))


def _power_of_ten(log_value: float) -> str:
    """Return a number, given by its natural logarithm, in decimal notation of any size."""
    if not np.isfinite(log_value):
        return f"{np.exp(log_value):.0f}"
    exponent = int(np.floor(log_value / np.log(10)))
    return f"{np.exp(log_value - exponent * np.log(10)):.2f}e{exponent:+03d}"


def figure_of(layers: Mapping[str, LayerFlow]) -> Figure:
    """Return a figure with a row of panels for each layer and direction."""
    check_installed()
    from matplotlib.figure import Figure  # optional

    figure = Figure(figsize=(11, 2.6 * len(layers)), layout="constrained")
    panels = figure.subplots(len(layers), 3, squeeze=False, width_ratios=(3, 3, 2))
    for (norms, gains, gates), (name, layer) in zip(panels, layers.items(), strict=True):
        _draw_norms(norms, layer)
        _draw_gains(gains, layer)
        _draw_saturation(gates, layer)
        norms.set_title(f"{name}: norm of the gradient", fontsize=9)
    return figure


def _draw_norms(axes: Axes, layer: LayerFlow) -> None:
    """Draw the norm of each state's gradient over the steps, in powers of ten."""
    there = np.arange(len(layer.log_total))[:, None] <= layer.lengths
    for state, log_norms in layer.log_norms.items():
        means = [_log_mean(row[some]) for row, some in zip(log_norms, there, strict=True)]
        with np.errstate(invalid="ignore"):
            values = np.where(np.isfinite(means), np.array(means) / np.log(10), np.nan)
        axes.plot(values, label=state)
    axes.set_xlabel("steps from the start")
    axes.set_ylabel("log10")
    axes.legend(fontsize=8)


def _draw_gains(axes: Axes, layer: LayerFlow) -> None:
    """Draw the largest singular value of each step, and that of the products per step."""
    axes.set_title("largest singular value", fontsize=9)
    steps = np.arange(1, len(layer.log_product_gain))
    if steps.size:
        axes.plot(steps, layer.step_gain[::-1], label="one step")
        axes.plot(steps, np.exp(layer.log_product_gain[1:] / steps), label="last k steps, per step")
        axes.legend(fontsize=8)
    axes.axhline(1, color="grey", linewidth=0.8)
    axes.set_xlabel("k, steps from the end")


def _draw_saturation(axes: Axes, layer: LayerFlow) -> None:
    """Draw the share of values of each gate that are saturated low and high."""
    axes.set_title("saturated", fontsize=9)
    names = list(layer.saturation)
    low, high = (
        [float(getattr(gate, side).mean()) for gate in layer.saturation.values()]
        for side in ("low", "high")
    )
    axes.barh(names, low, label="low")
    axes.barh(names, high, left=low, label="high")
    axes.set_xlim(0, 1)
    axes.tick_params(labelsize=8)
    if names:
        axes.legend(fontsize=8)


def html_of(layers: Mapping[str, LayerFlow], cell: str) -> str:
    """Return the table as HTML, with the figure as inline SVG if matplotlib is installed."""
    header, *rows = table_of(layers)
    table = html_table(header, rows, caption=f"GradientFlow of {cell}")
    if importlib.util.find_spec("matplotlib") is None:
        return table
    drawn = io.StringIO()
    figure_of(layers).savefig(drawn, format="svg")
    svg = drawn.getvalue()
    return f"<div>{table}{svg[svg.index('<svg') :]}</div>"
