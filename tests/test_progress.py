"""Progress on terminals, in notebooks and in files."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rnnfast.training import (
    Callback,
    CharLM,
    CharLMTrainer,
    LiveCurve,
    LiveProgress,
    NotebookProgress,
    PrintProgress,
    TrainingError,
    progress,
)
from training_cases import SMALL, TEXT, VOCABULARY, options, weight

pytestmark = pytest.mark.usefixtures("one_thread")


def run(callback: Callback, *others: Callback, path: Path | None = None) -> CharLMTrainer:
    trainer = CharLMTrainer(
        CharLM(VOCABULARY, SMALL, seed=1),
        TEXT,
        options(steps=6, validate_every=2, sample_every=3, sample_length=9),
        output=path,
        callbacks=[callback, *others],
    )
    trainer.run()
    return trainer


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)


def test_progress_is_what_suits_the_place() -> None:
    assert type(progress(terminal())) is LiveProgress
    assert type(progress(Console(file=io.StringIO()))) is PrintProgress
    assert type(progress(Console(force_jupyter=True))) is NotebookProgress


def test_a_terminal_has_a_bar_that_ends_full(tmp_path: Path) -> None:
    console = terminal()
    run(LiveProgress(console), path=tmp_path / "m.safetensors")
    shown = console.file.getvalue()
    last = re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", shown).splitlines()[-1]
    assert re.search(r"step 6, \d+k? chars/s, bits/char \d\.\d{3} train \d\.\d{3} val, 0:00", last)
    assert last.rstrip().endswith("100%")
    for part in ("sample at step 3", "sample at step 6", "step 6: saved"):
        assert part in shown


def test_a_terminal_is_left_in_order_when_a_run_fails() -> None:
    class Spoil(Callback):
        def on_step(self, trainer: CharLMTrainer) -> None:
            weight(trainer.model, "head.weight")[...] *= 1e9

    console = terminal()
    with pytest.raises(TrainingError, match="diverged"):
        run(LiveProgress(console), Spoil())
    shown = console.file.getvalue()
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1  # the cursor, hidden and shown


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return the context that records, as `outputs` and `stdout`, what a notebook would show."""
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)  # IPython may warn about it
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    shell = pytest.importorskip(
        "IPython.core.interactiveshell", reason="IPython is not installed"
    ).InteractiveShell
    from IPython.utils.capture import capture_output

    shell.instance()
    try:
        yield capture_output
    finally:
        shell.clear_instance()


def test_a_notebook_has_one_line_that_is_renewed(tmp_path: Path, notebook: Any) -> None:
    with notebook() as captured:
        run(NotebookProgress(), path=tmp_path / "m.safetensors")
    lines = [output.data["text/plain"] for output in captured.outputs]
    assert lines[0].startswith("step 0, epoch 0.00, 0 chars/s")
    assert lines[-1].startswith("step 6, ")
    assert " bits/char, validation " in lines[-1]
    assert len({o.transient["display_id"] for o in captured.outputs if o.transient}) == 1
    assert "--- sample at step 3" in captured.stdout
    assert captured.stdout.endswith("m.safetensors\n")
    assert "step 6, epoch" not in captured.stdout


def test_a_notebook_has_one_chart_that_grows(notebook: Any) -> None:
    with notebook() as captured:
        run(LiveCurve(seconds=0))
    assert len({o.transient["display_id"] for o in captured.outputs}) == 1
    shown = [output.data["text/html"] for output in captured.outputs]
    assert shown[0] == "History(0 rows)"
    steps = [re.search(r"rows, step=(\d+)", chart) for chart in shown[1:]]
    assert [int(found[1]) for found in steps if found] == [2, 4, 6, 6]  # rows, and the end
    assert shown[-1].startswith("<figure><svg ")


def test_a_chart_that_was_just_drawn_waits_for_the_end(notebook: Any) -> None:
    with notebook() as captured:
        run(LiveCurve(seconds=3600))
    assert [output.data["text/html"][:10] for output in captured.outputs] == [
        "History(0 ",
        "<figure><s",
    ]


def test_the_pause_of_a_chart_is_checked() -> None:
    with pytest.raises(ValueError, match="seconds: expected at least 0, got -1"):
        LiveCurve(-1)
