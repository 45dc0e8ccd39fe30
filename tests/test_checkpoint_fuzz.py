"""Damaged and crafted checkpoints cause only documented errors: no crash, hang or huge allocation.

The same few hundred examples run each time. For a longer search, with new examples each time:

    RNNFAST_FUZZ_EXAMPLES=20000 pytest tests/test_checkpoint_fuzz.py
"""

from __future__ import annotations

import contextlib
import copy
import os
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rnnfast.training import (
    CharLM,
    CharLMConfig,
    CharLMTrainer,
    Checkpoint,
    CheckpointError,
    TextError,
    TrainingError,
    TrainingOptions,
    Vocabulary,
    load_checkpoint,
)
from rnnfast.training.checkpoint import save_checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")

TEXT = "the quick brown fox jumps over the lazy dog\n" * 20
EXAMPLES = int(os.environ.get("RNNFAST_FUZZ_EXAMPLES", "250"))
FUZZ = settings(
    max_examples=EXAMPLES,
    derandomize="RNNFAST_FUZZ_EXAMPLES" not in os.environ,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
ROOM = 1 << 30  # bytes that an example may allocate; it needs less than a hundredth of that
SECONDS = 20  # that an example may take; it needs less than a hundredth of that

# JSON values that can stand in place of the right ones.
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1, 2, 10**9, 2**63, 10**30, -(10**30), 0.5, 1e308]),
    st.sampled_from([float("nan"), float("inf"), "", "gru", "lstm", "float64", "ab" * 99, [], {}]),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@pytest.fixture(autouse=True)
def _without_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    model = CharLM(Vocabulary(TEXT), CharLMConfig("lstm", 4, 2, dropout=0.5), seed=0)
    run = TrainingOptions(steps=3, batch=2, seq_len=8, optimizer="rmsprop")
    CharLMTrainer(model, TEXT, run, output=folder / "good").run()
    return folder


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Fail an example that allocates or takes far too much."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ROOM, before[1]))

    def hangs(*_: object) -> None:
        raise AssertionError(f"takes more than {SECONDS} seconds")

    handler = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


def use(path: Path) -> None:
    """Do everything that can be done with a file, unless it is refused with a documented error."""
    with bounded():
        try:
            CharLM.load(path).sample(3, seed=0)
        except CheckpointError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017
        try:
            trainer = CharLMTrainer.resume(path, TEXT)
        except (CheckpointError, TextError):
            return
        with contextlib.suppress(TrainingError, TextError):  # diverged, or no text was held out
            trainer.validate()
            trainer._train_step()


Edit = Callable[[bytearray], None]


def flip(place: float, bit: int) -> Edit:
    def edit(data: bytearray) -> None:
        if data:
            data[int(place * len(data))] ^= 1 << bit

    return edit


def cut(start: float, length: int) -> Edit:
    def edit(data: bytearray) -> None:
        first = int(start * len(data))
        del data[first : first + length]

    return edit


def insert(place: float, what: bytes) -> Edit:
    def edit(data: bytearray) -> None:
        first = int(place * len(data))
        data[first:first] = what

    return edit


def overwrite(place: float, what: bytes) -> Edit:
    def edit(data: bytearray) -> None:
        first = int(place * len(data))
        data[first : first + len(what)] = what

    return edit


PLACE = st.floats(0, 1, exclude_max=True)
NEAR = st.one_of(PLACE, PLACE.map(lambda place: place / 50))  # hit the header more often
EDITS = st.one_of(
    st.builds(flip, NEAR, st.integers(0, 7)),
    st.builds(cut, NEAR, st.integers(1, 5000)),
    st.builds(insert, NEAR, st.binary(min_size=1, max_size=20)),
    st.builds(overwrite, NEAR, st.binary(min_size=1, max_size=20)),
)


@FUZZ
@given(edits=st.lists(EDITS, min_size=1, max_size=4))
def test_damaged_bytes_are_refused(folder: Path, edits: list[Edit]) -> None:
    good = (folder / "good").read_bytes()
    data = bytearray(good)
    for edit in edits:
        edit(data)
    (folder / "bad").write_bytes(data)
    if data != good:
        with pytest.raises(CheckpointError):
            load_checkpoint(folder / "bad")
    use(folder / "bad")


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Return the path to each value inside a JSON value."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*path, key))


def put(value: Any, path: tuple[Any, ...], new: Any, drop: bool) -> None:
    """Change a value inside a JSON value, or remove it."""
    for key in path[:-1]:
        value = value[key]
    if drop:
        del value[path[-1]]
    else:
        value[path[-1]] = new


@FUZZ
@given(data=st.data())
def test_crafted_headers_with_a_right_checksum_are_refused_or_work(
    folder: Path, data: st.DataObject
) -> None:
    checkpoint = load_checkpoint(folder / "good")
    parts = {"model": checkpoint.model, "training": checkpoint.training}
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from([p for p in places(parts) if len(p) > 1]))
        put(parts, path, copy.deepcopy(data.draw(ODD)), data.draw(st.integers(0, 5)) == 0)
    save_checkpoint(folder / "bad", Checkpoint(**parts, tensors=checkpoint.tensors))
    use(folder / "bad")


@FUZZ
@given(data=st.data())
def test_crafted_tensors_with_a_right_checksum_are_refused_or_work(
    folder: Path, data: st.DataObject
) -> None:
    checkpoint = load_checkpoint(folder / "good")
    tensors = dict(checkpoint.tensors)
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from(sorted(tensors)))
        old = tensors.pop(name)
        shape = data.draw(
            st.sampled_from([old.shape, old.T.shape, (old.size,), (1, *old.shape), (0,), ()])
        )
        dtype = data.draw(st.sampled_from(["f4", "f8", "f2", "i8", "u1", "?"]))
        value = data.draw(st.sampled_from([0.0, 1.0, -3e4, 255.0]))
        if data.draw(st.integers(0, 3)):
            name = data.draw(st.sampled_from([name, f"{name}x", "training.state.7", "x"]))
            with np.errstate(all="ignore"):
                tensors[name] = np.full(shape, value).astype(dtype)
    save_checkpoint(folder / "bad", Checkpoint(checkpoint.model, checkpoint.training, tensors))
    use(folder / "bad")
