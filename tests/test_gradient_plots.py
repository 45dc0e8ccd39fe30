"""The flow of a gradient as text, as a figure and in notebooks."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import rnnfast
from rnnfast.inspection import GradientFlow

H = 4


def of_two_layers() -> GradientFlow:
    layer = rnnfast.LSTM(3, H, 2, dtype="float64", seed=1)
    dy = np.zeros((9, 2, H))
    dy[-1] = 1.0
    return rnnfast.gradient_flow(layer, np.ones((9, 2, 3)), dy)


def test_it_prints_a_row_for_each_layer() -> None:
    flow = of_two_layers()
    lines = repr(flow).splitlines()
    assert lines[0] == "GradientFlow of 'lstm'"
    assert lines[1].split("  ")[0] == "layer"
    assert [line.split()[0] for line in lines[2:]] == ["l0", "l1"]
    end = float(lines[3].split()[1])
    assert end == pytest.approx(H**0.5, rel=0.01)  # of each sequence
    with pytest.raises(KeyError, match="expected one of l0, l1, got 'l2'"):
        _ = flow["l2"]


def test_memory_is_said_in_words() -> None:
    layer = rnnfast.LSTM(3, H, dtype="float64", seed=1)
    x, dy = np.ones((9, 2, 3)), np.zeros((9, 2, H))
    assert "beyond the start" in repr(rnnfast.gradient_flow(layer, x, dy + 1))
    layer.load_state_dict({n: 0 * w for n, w in layer.state_dict().items()})
    dy[-1] = 1.0
    flow = rnnfast.gradient_flow(layer, x, dy)
    assert flow["l0"].memory.tolist() == [1, 1]  # h does not depend on the h before, and f is 1/2
    assert " 1 step " in repr(flow)
    assert (
        repr(flow["l0"]) == "LayerFlow of 9 steps of 2 sequences; states: h, c; gates: i, f, g, o"
    )


def test_without_matplotlib_a_plot_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"plots need the package matplotlib, .* pip install"):
        of_two_layers().plot()


def test_its_figure_shows_norms_gains_and_saturation() -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    flow = of_two_layers()
    figure = flow.plot()
    assert len(figure.axes) == 6
    norms, gains, gates = figure.axes[:3]
    h, c = norms.lines
    expected = np.log(np.sqrt(np.mean(flow["l0"].norms["h"] ** 2, axis=1))) / np.log(10)
    np.testing.assert_allclose(h.get_ydata(), expected, rtol=1e-12)
    assert (h.get_label(), c.get_label()) == ("h", "c")
    np.testing.assert_allclose(gains.lines[0].get_ydata(), flow["l0"].step_gain[::-1])
    assert len(gates.patches) == 2 * len(flow["l0"].saturation)
    html = flow._repr_html_()
    assert html.count("<tr>") == 3
    assert "<svg" in html
    assert "<?xml" not in html


def test_without_matplotlib_html_is_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    html = of_two_layers()._repr_html_()
    assert html.count("<tr>") == 3
    assert "<svg" not in html
