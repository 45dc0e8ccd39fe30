"""The history of a run: its columns, its files, its total of items, and what notebooks show."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnnfast.training import (
    Callback,
    CharLM,
    CharLMTrainer,
    Checkpoint,
    History,
    Record,
    RunOptions,
    Trainer,
    load_checkpoint,
)
from rnnfast.training.checkpoint import RUN, save_checkpoint
from trainer_cases import BATCHES, B, Model, StopAt, adam, trained
from training_cases import SMALL, TEXT, VOCABULARY, options

pytestmark = pytest.mark.usefixtures("one_thread")

ROW = Record(10, 0.5, 1.5, 2.0, math.nan, 1e-3, 0.7, 0.25, 800.0, 640.0)


def history(*rows: Record) -> History:
    made = History()
    for row in rows:
        made.append(row)
    return made


def without_items(path: Path, form: str, history_at: str) -> None:
    """Rewrite a checkpoint as a version that did not count items would have written it."""
    checkpoint = load_checkpoint(path, form)
    del checkpoint.training["items"]
    tensor = f"training.{history_at}history.items"
    report = checkpoint.training["report"] if history_at else checkpoint.training
    assert report["history"].pop("items") == {"tensor": tensor}
    tensors = {name: t for name, t in checkpoint.tensors.items() if name != tensor}
    save_checkpoint(path, Checkpoint(checkpoint.model, checkpoint.training, tensors), form)


# ---- the columns


def test_items_are_the_total_of_all_batches() -> None:
    trainer = trained(7, items=lambda batch: len(batch[1]), options={"log_every": 3})
    assert trainer.history["items"].tolist() == [3 * B, 6 * B, 7 * B]
    assert trainer.items_read == 7 * B


def test_items_of_a_language_model_are_its_characters() -> None:
    run = options(steps=4, log_every=2, accumulate=3)
    trainer = CharLMTrainer(CharLM(VOCABULARY, SMALL, seed=1), TEXT, run)
    trainer.run()
    a_step = run.accumulate * run.batch * run.seq_len
    assert trainer.history["items"].tolist() == [2 * a_step, 4 * a_step]


def test_a_history_survives_its_file() -> None:
    rows = [ROW, ROW._replace(step=20, validation_loss=1.75, items=1280.0)]
    restored = History()
    restored.load_state_dict(history(*rows).state_dict())
    for name in Record._fields:
        np.testing.assert_array_equal(restored[name], history(*rows)[name])
    assert restored[-1] == rows[-1]


@pytest.mark.parametrize("items", [np.ones(2), np.ones(1, np.float32)])
def test_a_history_refuses_another_column_of_items(items: np.ndarray) -> None:
    state = history(ROW).state_dict() | {"items": items}
    with pytest.raises((TypeError, ValueError), match=r"history: expected columns|items: expected"):
        History().load_state_dict(state)


# ---- resumed runs


class Fail(Callback):
    def on_step(self, trainer: Trainer) -> None:
        if trainer.step == 5:
            raise KeyError("a callback that fails")


def resumable(steps: int, **rest: Any) -> Trainer:
    model = Model()
    chosen = RunOptions(steps=steps, log_every=4, clip_norm=0.5)
    return Trainer(model, BATCHES, optimizer=adam(model), options=chosen, **rest)


@pytest.mark.parametrize("stop", [StopAt(5), Fail()])
def test_a_resumed_run_counts_on(tmp_path: Path, stop: Callback) -> None:
    path = tmp_path / "run.safetensors"
    first = resumable(8, output=path, callbacks=[stop])
    if isinstance(stop, Fail):
        with pytest.raises(KeyError):
            first.run()
    else:
        first.run()
    resumed = resumable(8)
    resumed.restore(path)
    assert resumed.items_read == first.items_read
    resumed.run()
    whole = resumable(8)
    whole.run()
    assert resumed.history["items"][-1] == whole.history["items"][-1] == whole.items_read
    for name in ("loss", "gradient_norm", "clip_share", "items", "learning_rate"):
        assert resumed.history[name][0] == whole.history[name][0], name


def test_a_run_that_did_not_count_items_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    resumable(4, output=path).run()
    without_items(path, RUN, "")
    resumed = resumable(8, output=path)
    resumed.restore(path)
    assert math.isnan(resumed.items_read)
    resumed.run()
    assert resumed.history["step"].tolist() == [4, 8]
    assert np.isnan(resumed.history["items"]).all()
    again = resumable(8)
    again.restore(path)  # a file holds no NaN, and the run can be saved nevertheless
    assert np.isnan(again.history["items"]).all()
    with pytest.raises(ValueError, match=r"x: expected steps or seconds, as the run did not count"):
        again.history.plot(x="items")


def test_a_language_model_that_did_not_count_items_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    run = options(steps=4, log_every=2)
    CharLMTrainer(CharLM(VOCABULARY, SMALL, seed=1), TEXT, run, output=path).run()
    without_items(path, "rnnfast-char-lm", "report.")
    resumed = CharLMTrainer.resume(path, TEXT, steps=6)
    resumed.run()
    assert resumed.history["step"].tolist() == [2, 4, 6]
    assert np.isnan(CharLMTrainer.resume(path, TEXT).history["items"]).all()


# ---- what is shown


def test_rows_and_columns_that_do_not_exist_are_refused() -> None:
    two = history(ROW, ROW._replace(step=20))
    assert [row.step for row in two] == [two[-2].step, two[np.int64(1)].step] == [10, 20]
    with pytest.raises(IndexError, match="history: expected one of 2 rows, got number -3"):
        two[-3]
    with pytest.raises(TypeError, match=r"history: expected the name of a column or .*slice"):
        two[:1]  # type: ignore[index]
    with pytest.raises(ValueError, match=r"column: expected one of step, .*, got 'los'"):
        two["los"]


def test_a_history_says_its_last_losses() -> None:
    assert repr(History()) == "History(0 rows)"
    rows = [ROW._replace(validation_loss=1.5), ROW._replace(step=20, loss=1.25)]
    assert repr(history(*rows)) == "History(2 rows, step=20, loss=1.25, validation_loss=1.5)"


SVG = "{http://www.w3.org/2000/svg}"


def polylines(shown: str) -> list[np.ndarray]:
    figure = ET.fromstring(shown)
    return [
        np.array([[float(v) for v in point.split(",")] for point in line.get("points").split()])
        for line in figure.iter(f"{SVG}polyline")
    ]


def test_notebooks_show_a_chart() -> None:
    assert History()._repr_html_() == "History(0 rows)"
    rows = [
        ROW._replace(step=10, loss=4.0),
        ROW._replace(step=20, loss=3.0, validation_loss=2.0),
        ROW._replace(step=40, loss=1.0, validation_loss=2.5),
    ]
    made = history(*rows)
    shown = made._repr_html_()
    training, validation = polylines(shown)
    # Both axes are linear: equal ratios of distances, in the picture and in the numbers.
    np.testing.assert_allclose(np.diff(training[:, 0]) / (training[2, 0] - training[0, 0]),
                               [1 / 3, 2 / 3], atol=1e-3)  # fmt: skip
    np.testing.assert_allclose(np.diff(training[:, 1]) / (training[2, 1] - training[0, 1]),
                               [1 / 3, 2 / 3], atol=1e-3)  # fmt: skip
    np.testing.assert_array_equal(validation[:, 0], training[1:, 0])
    texts = [text.text for text in ET.fromstring(shown).iter(f"{SVG}text")]
    assert {"4", "1", "10", "40", "loss", "steps", "training", "validation"} <= set(texts)
    assert repr(made) in shown


@pytest.mark.parametrize("rows", [[ROW], [ROW, ROW._replace(step=20)]])
def test_flat_and_short_curves_are_charts_too(rows: list[Record]) -> None:
    for line in polylines(history(*rows)._repr_html_()):
        assert np.isfinite(line).all()


def test_a_long_history_is_a_small_chart() -> None:
    rng = np.random.default_rng(0)
    losses = rng.random(50_000)
    losses[31_234] = 9.0  # a peak of one row must show
    made = history(*(ROW._replace(step=i, loss=loss) for i, loss in enumerate(losses)))
    shown = made._repr_html_()
    assert len(shown) < 20_000
    (line,) = polylines(shown)
    assert line[:, 1].min() == 12  # the top of the field


def test_a_history_is_plotted() -> None:
    figures = pytest.importorskip("matplotlib.figure", reason="matplotlib is not installed")
    trainer = trained(6, validation=BATCHES[:1], options={"log_every": 1, "validate_every": 2})
    for x in ("steps", "seconds", "items"):
        axes = figures.Figure().add_subplot()
        assert trainer.history.plot(axes, x=x) is axes
        training, validation = axes.get_lines()
        column = trainer.history["step" if x == "steps" else x]
        np.testing.assert_array_equal(training.get_xdata(), column)
        np.testing.assert_array_equal(training.get_ydata(), trainer.history["loss"])
        np.testing.assert_array_equal(validation.get_xdata(), column[1::2])
        assert (axes.get_xlabel(), axes.get_ylabel()) == (x, "loss")
        assert [line.get_label() for line in axes.get_lines()] == ["training", "validation"]


def test_a_history_is_plotted_into_a_figure_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    monkeypatch.setenv("MPLBACKEND", "agg")
    from matplotlib import pyplot

    axes = history(ROW).plot()
    try:
        assert pyplot.gcf() is axes.figure
        assert axes.get_lines()[0].get_marker() == "o"  # the line of a single point
    finally:
        pyplot.close(axes.figure)


def test_plots_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="history: expected at least one row to plot, got none"):
        History().plot()
    with pytest.raises(ValueError, match="x: expected one of steps, seconds, items, got 'epochs'"):
        history(ROW).plot(x="epochs")
    with pytest.raises(ValueError, match=r"smoothing: expected a number in \[0, 1\), got 1"):
        history(ROW).plot(smoothing=1)
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"package matplotlib.* pip install matplotlib"):
        history(ROW).plot()
