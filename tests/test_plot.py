"""`rnnfast plot`, and the runs, curves and charts that it is made of."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli_cases import Capture, refused, rnnfast_, train, words
from rnnfast.cli.chart import chart
from rnnfast.training import (
    CharLM,
    CheckpointError,
    CSVLog,
    Record,
    load_checkpoint,
    read_run,
)
from rnnfast.training.checkpoint import Checkpoint, save_checkpoint
from rnnfast.training.curves import Curve, curves, limits, smoothed, thinned
from trainer_cases import BATCHES, trained
from training_cases import SMALL, VOCABULARY

HELD = settings(deadline=None, max_examples=60, derandomize=True)
LOSSES = st.floats(-1e6, 1e6, allow_subnormal=False)
HEADING = ",".join(Record._fields)


def curve(x: list[float], y: list[float], kind: str = "training", run: str = "") -> Curve:
    return Curve(run, kind, np.array(x, float), np.array(y, float))


# ---- curves


def test_smoothing_is_that_of_pandas() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    values = np.random.default_rng(0).standard_normal(300).cumsum()
    for weight in (0.5, 0.9, 0.999):
        expected = pandas.Series(values).ewm(alpha=1 - weight).mean()
        np.testing.assert_allclose(smoothed(values, weight), expected, rtol=1e-10, atol=1e-10)
    assert smoothed(values, 0).tobytes() == values.tobytes()


@HELD
@given(st.integers(1, 400), st.integers(1, 50), st.integers(0, 2**32 - 1))
def test_thinned_curves_keep_order_ends_and_extremes(size: int, parts: int, seed: int) -> None:
    y = np.random.default_rng(seed).integers(-9, 9, size).astype(float)  # with repeated extremes
    whole = curve(list(range(size)), y.tolist())
    thin = thinned(whole, parts)
    assert thin.x.size <= 2 * parts + 2
    assert (np.diff(thin.x) > 0).all()
    assert (thin.y == y[thin.x.astype(int)]).all()
    assert (thin.x[0], thin.x[-1]) == (0, y.size - 1)
    assert limits([thin]) == limits([whole])


def test_validations_and_rows_that_are_not_finite_are_no_points() -> None:
    history = {
        "step": np.array([1.0, 2, 3]),
        "loss": np.array([3.0, np.inf, 1]),
        "validation_loss": np.array([np.nan, 2, np.nan]),
    }
    training, validation = curves(history, "run")
    assert (training.label, training.x.tolist()) == ("run, training", [1, 3])
    assert (validation.label, validation.x.tolist()) == ("run, validation", [2])


# ---- charts in the terminal


def shown(*drawn: Curve, width: int = 40, height: int = 5) -> list[str]:
    return [line.plain for line in chart(drawn, "steps", "loss", width, height)]


def test_a_chart_has_a_line_from_corner_to_corner() -> None:
    lines = shown(curve([0, 10], [1, 0]))
    assert lines[0].split() == ["loss"]
    field = [line.partition("│")[2] for line in lines[1:6]]
    assert [line.split()[0] for line in (lines[1], lines[5])] == ["1", "0"]
    for row, line in enumerate(field):  # a straight line: a fifth of the columns in each row
        filled = [i for i, sign in enumerate(line) if sign != " "]
        assert (filled[0], filled[-1]) == pytest.approx(
            (row * len(line) / 5, (row + 1) * len(line) / 5 - 1), abs=1
        )
        assert filled == list(range(filled[0], filled[-1] + 1))  # without gaps
    assert ord(field[0][0]) & 0x01  # the uppermost dot on the left
    assert ord(field[-1][-1]) & 0x80  # the lowest dot on the right
    assert lines[7].split() == ["0", "steps", "10"]
    assert lines[8].split() == ["⠒⠒", "training"]


def test_a_long_curve_has_no_gaps_and_keeps_its_peak() -> None:
    y = np.sin(np.arange(30_000) / 3000)
    y[17_000] = 2.0
    field = [line.partition("│")[2] for line in shown(curve(list(range(y.size)), y.tolist()))[1:6]]
    peak = [i for i, sign in enumerate(field[0]) if sign != " "]
    assert peak == [int(17_000 / 30_000 * len(field[0]))]
    assert all(any(line[i] != " " for line in field) for i in range(len(field[0])))


def test_a_chart_marks_validations() -> None:
    lines = shown(curve([0, 10], [0, 0], run="a"), curve([5], [1], "validation", "a"))
    field = [line.partition("│")[2] for line in lines[1:6]]
    marks = [(r, c) for r, line in enumerate(field) for c, s in enumerate(line) if s == "●"]
    assert marks == [(0, round((len(field[0]) - 1) / 2))]
    assert lines[-1].split() == ["●", "a,", "validation"]


@HELD
@given(st.lists(LOSSES, min_size=1, max_size=30), st.integers(10, 100), st.integers(2, 20))
def test_charts_of_any_size_hold_any_curve(y: list[float], width: int, height: int) -> None:
    lines = shown(curve(list(range(len(y))), y), width=width, height=height)
    assert len(lines) == height + 4
    field = [line.partition("│")[2] for line in lines[1 : height + 1]]
    assert len({len(line) for line in field}) == 1
    assert any(sign != " " for line in field for sign in line)


# ---- the runs of files


def test_a_table_and_a_checkpoint_hold_the_same_run(tmp_path: Path) -> None:
    table, checkpoint = tmp_path / "run.csv", tmp_path / "run.safetensors"
    trainer = trained(
        6,
        validation=BATCHES[:1],
        output=checkpoint,
        callbacks=[CSVLog(table)],
        options={"log_every": 2, "validate_every": 4},
    )
    for path in (table, checkpoint):
        run = read_run(path)
        assert (run.item, run.loss) == ("item", "loss")
        for name in Record._fields:
            np.testing.assert_array_equal(run.history[name], trainer.history[name])


ROW = "4,0.5,1.5,2.0,,0.001,0.7,0.25,800.0,640.0\n"
NO_TABLE = "is not the table of a run"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a run: a checkpoint of a training run, or a table .*, got another file"),
        ("a,b\n1,2\n", "expected a run: .*, got another file"),
        ("step,loss\n1,2\n", f"{NO_TABLE}: columns: missing .*'epoch'"),
        (f"{HEADING},more\n{ROW}", f"{NO_TABLE}: columns: unexpected 'more'"),
        (f"{HEADING}\n{ROW}4,5\n", f"{NO_TABLE}: line 3: expected 10 numbers, got '4,5'"),
        (f"{HEADING}\n{ROW.replace('2.0', 'two')}", f"{NO_TABLE}: line 2: expected 10 numbers"),
        (f"{HEADING}\n{ROW.replace('4,', 'inf,', 1)}", f"{NO_TABLE}: line 2: expected 10 numbers"),
        (f"{HEADING}\n{ROW.replace('4,', ',', 1)}", f"{NO_TABLE}: line 2: expected 10 numbers"),
        (f"{HEADING}é\n", f"{NO_TABLE}: 'ascii' codec"),
    ],
)
def test_files_that_are_no_runs_are_told(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "run.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=f"^{path}: {message}"):
        read_run(path)


def test_a_table_that_is_being_written_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    path.write_text(f"{HEADING}\n{ROW}{ROW[:7]}")
    assert len(read_run(path).history) == 1
    path.write_text(HEADING)
    assert len(read_run(path).history) == 0


def test_a_table_of_an_earlier_version_has_no_items(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    path.write_text(f"{HEADING.removesuffix(',items')}\n{ROW.rpartition(',')[0]}\n")
    row = read_run(path).history[0]
    assert (row.step, row.items_per_second) == (4, 800)
    assert np.isnan(row.items)


def test_checkpoints_without_a_run_are_told(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    CharLM(VOCABULARY, SMALL, seed=1).save(path)
    with pytest.raises(CheckpointError, match=f"^{path}: expected a training run, got only"):
        read_run(path)
    model = load_checkpoint(path)
    save_checkpoint(path, Checkpoint(model.model, {"step": 3}, model.tensors))  # as 0.1.0 did
    with pytest.raises(CheckpointError, match=f"^{path}: has no history"):
        read_run(path)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(CheckpointError, match=f"^{path}: is damaged"):
        read_run(path)


# ---- the command


@pytest.fixture
def runs(folder_with_a_text: None, capsys: Capture) -> None:  # noqa: ARG001
    rest = words("--steps 6 --validate-every 3 --log-every 1 --log one.csv")
    assert train(capsys, "text.txt", *rest, "-o", "one.safetensors")[0] == 0
    trained(5, output="two.safetensors", options={"log_every": 1})


@pytest.mark.usefixtures("runs")
def test_runs_are_drawn_in_the_terminal(capsys: Capture) -> None:
    code, out, err = rnnfast_(capsys, "plot", "one.safetensors", "two.safetensors")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["loss"]
    assert max(map(len, lines)) <= 80
    assert [line.split(maxsplit=1)[1] for line in lines[-3:]] == [
        "one, training",
        "one, validation",
        "two, training",
    ]
    assert out.count("●") >= 2
    code, out, _ = rnnfast_(capsys, "plot", "one.safetensors", "--x", "items", "--label", "mine")
    assert (code, out.splitlines()[0].strip()) == (0, "loss, bits per character")
    assert "characters" in out
    assert str(6 * 4 * 16) in out  # steps, streams and characters of a step
    assert out.splitlines()[-1].endswith("mine, validation")


@pytest.mark.usefixtures("runs")
def test_runs_are_drawn_as_pictures(capsys: Capture) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    for name, start in (("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.PDF", b"%PDF")):
        arguments = words("one.csv two.safetensors --smoothing 0.5 --x seconds -o")
        assert rnnfast_(capsys, "plot", *arguments, name) == (0, "", "")
        assert Path(name).read_bytes().startswith(start)


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("none.csv", "none.csv: cannot be read: No such file"),
        (".", ".: cannot be read: Is a directory"),
        ("text.txt", "text.txt: expected a run: a checkpoint of a training run, or a table"),
        ("one.csv empty.csv", "empty.csv: expected a run with measurements, got one that has none"),
        ("one.csv --x epochs", "x: expected one of steps, seconds, items, got 'epochs'"),
        ("one.csv --smoothing 1", "smoothing: expected a number in [0, 1), got 1"),
        ("one.csv --label a --label b", "label: expected one for each RUN, 1 in all, got 2"),
        ("one.csv one.csv", "runs: expected different names, got one.csv, one.csv"),
        ("one.csv -o a.jpg", "output: expected a name that ends in .png, .svg, .pdf, got a.jpg"),
        ("one.csv -o gone/a.png", "gone/a.png: cannot be written: "),
        ("old.csv --x items", "old.csv: x: expected steps or seconds, as the run did not count"),
        ("", "Missing argument 'RUN"),
    ],
)
def test_plot_refuses(capsys: Capture, arguments: str, message: str) -> None:
    Path("empty.csv").write_text(HEADING + "\n")
    Path("old.csv").write_text(f"{HEADING}\n{ROW.replace('640.0', '')}")
    assert message in refused(rnnfast_(capsys, "plot", *words(arguments)))


@pytest.mark.usefixtures("runs")
def test_a_missing_package_is_told(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    message = refused(rnnfast_(capsys, "plot", "one.csv", "-o", "a.png"))
    assert message.endswith("which is not installed: pip install matplotlib")
    assert not Path("a.png").exists()


def test_help_names_its_parts(capsys: Capture) -> None:
    code, out, _ = rnnfast_(capsys, "plot", "--help")
    assert code == 0
    for part in ("RUN", "--output", "--x", "--smoothing", "--label", "training and validation"):
        assert part in out
