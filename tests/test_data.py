"""Batches of data: their contents, order, position and memory use."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnnfast
from rnnfast import data
from rnnfast.training import CarriedState, CharLM, CharLMConfig, RunOptions, Trainer, Vocabulary
from rnnfast.training.vocabulary import ByteVocabulary

# ---- windows


def test_windows_are_views_of_the_series() -> None:
    series = np.arange(40.0).reshape(20, 2)
    x, y = data.windows(series, 5, 3, stride=4)
    assert (x.shape, y.shape) == ((5, 4, 2), (3, 4, 2))
    assert x.base is not None
    assert np.shares_memory(x, series)
    assert np.shares_memory(y, series)
    for w in range(4):
        np.testing.assert_array_equal(x[:, w], series[4 * w : 4 * w + 5])
        np.testing.assert_array_equal(y[:, w], series[4 * w + 5 : 4 * w + 8])
    first_x, first_y = data.windows(series, 5, 3, stride=4, batch_first=True)
    np.testing.assert_array_equal(first_x, x.swapaxes(0, 1))
    np.testing.assert_array_equal(first_y, y.swapaxes(0, 1))


@pytest.mark.parametrize(("steps", "stride"), [(8, 1), (8, 3), (9, 1), (12, 2), (13, 2), (30, 7)])
def test_every_window_that_fits_is_there(steps: int, stride: int) -> None:
    series, target = np.arange(steps), -np.arange(steps)
    x, y = data.windows(series, 5, 3, stride, targets=target)
    starts = [s for s in range(0, steps, stride) if s + 8 <= steps]
    assert x[0, :, 0].tolist() == starts
    assert y[0, :, 0].tolist() == [-(s + 5) for s in starts]
    assert x.shape[1] == (steps - 5 - 3) // stride + 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.zeros(7), 5, 3), ValueError, r"series: expected at least .* = 8 steps, got 7"),
        ((np.zeros((2, 3, 4)), 1), ValueError, r"series: expected shape \(N, C\) or \(N,\)"),
        ((np.zeros(9), 0), ValueError, "length: expected at least 1, got 0"),
        ((np.zeros(9), 2, 0), ValueError, "horizon: expected at least 1, got 0"),
        ((np.zeros(9), 2, 1, 0.5), TypeError, "stride: expected an integer, got float"),
    ],
)
def test_windows_refuse(arguments: tuple[Any, ...], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        data.windows(*arguments)
    with pytest.raises(ValueError, match="targets: expected 9 steps, as in series, got 8"):
        data.windows(np.zeros(9), 2, targets=np.zeros(8))


# ---- batches of arrays


def test_batches_hold_each_item_once_a_pass() -> None:
    x, y = np.arange(22).reshape(2, 11), np.arange(11)[None]
    made = data.batches(x, y, batch_size=4, axis=1, seed=3)
    assert len(made) == 3
    orders = []
    for _ in range(2):
        parts = list(made)
        assert [b.shape for b, _ in parts] == [(2, 4), (2, 4), (2, 3)]
        for a, b in parts:
            np.testing.assert_array_equal(a, x[:, b[0]])
            assert a.flags.c_contiguous
        orders.append(np.concatenate([b[0] for _, b in parts]).tolist())
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(11))
    assert orders[0] != orders[1]
    again = data.batches(x, y, batch_size=4, axis=1, seed=3)
    assert np.concatenate([b[0] for _, b in again]).tolist() == orders[0]
    plain = data.batches(y[0], batch_size=4, shuffle=False, drop_last=True)
    assert [b.tolist() for (b,) in plain] == [[0, 1, 2, 3], [4, 5, 6, 7]]


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ((), {}, "arrays: expected at least one, got none"),
        ((np.zeros(3), np.zeros(4)), {}, r"arrays\[1\]: expected 3 items along axis 0, .* got 4"),
        (
            (np.zeros(3),),
            {"axis": 1},
            r"arrays\[0\]: expected an array with axis 1, got shape \(3,\)",
        ),
        ((np.zeros(0),), {}, "arrays: expected at least 1 items, got 0"),
        ((np.zeros(1),), {"drop_last": True}, "arrays: expected at least 2 items, got 1"),
        ((np.zeros(1),), {"batch_size": 0}, "batch_size: expected at least 1, got 0"),
    ],
)
def test_batches_refuse(arrays: tuple[Any, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.batches(*arrays, **({"batch_size": 2} | options))


# ---- buckets

LENGTHS = np.random.default_rng(1).integers(1, 40, 90)
SEQUENCES = [np.full((n, 2), i + 1.0, np.float32) for i, n in enumerate(LENGTHS)]


def test_buckets_pad_little_and_lose_nothing() -> None:
    labels = [np.full(n, i) for i, n in enumerate(LENGTHS)]
    made = data.bucket_batches(SEQUENCES, 8, targets=labels, bucket=4)
    seen: Counter[int] = Counter()
    for batch in made:
        steps = np.arange(len(batch.x))[:, None] < batch.lengths
        assert len(batch.x) == batch.lengths.max()
        expected = np.where(steps, batch.indices + 1, 0)
        np.testing.assert_array_equal(batch.x, np.stack([expected, expected], -1))
        assert batch.targets is not None
        np.testing.assert_array_equal(batch.targets, np.where(steps, batch.indices, -100))
        np.testing.assert_array_equal(batch.lengths, LENGTHS[batch.indices])
        seen.update(batch.indices.tolist())
    assert seen == Counter(range(90))
    padded = sum(b.x[..., 0].size for b in made)
    plain = sum(LENGTHS[i : i + 8].max() * 8 for i in range(0, 90, 8))
    assert padded < 0.75 * plain
    assert padded < 1.25 * LENGTHS.sum()


def test_buckets_have_targets_of_sequences_and_an_order_by_length() -> None:
    scores = np.arange(90) / 4
    made = data.bucket_batches(SEQUENCES, 7, targets=scores, shuffle=False)
    assert len(made) == 13
    batches = list(made)
    for batch in batches:
        np.testing.assert_array_equal(batch.targets, scores[batch.indices])
    order = np.concatenate([batch.lengths for batch in batches])
    assert (np.diff(order) >= 0).all()
    assert next(iter(data.bucket_batches(SEQUENCES, 7))).targets is None


@pytest.mark.parametrize(
    ("sequences", "targets", "message"),
    [
        ([], None, "sequences: expected at least one, got none"),
        ([np.zeros((3, 2)), np.zeros((3, 1))], None, r"sequences\[1\]: expected float64 of shape"),
        ([np.zeros((3, 2)), np.zeros((0, 2))], None, r"sequences\[1\]: expected at least one step"),
        ([np.zeros(3)] * 2, [1], "targets: expected 2, one per sequence, got 1"),
        ([np.zeros(3)] * 2, [np.zeros(1), np.zeros(2)], r"got shapes \(1,\) and \(2,\)"),
    ],
)
def test_buckets_refuse(sequences: Any, targets: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.bucket_batches(sequences, 2, targets=targets)


# ---- documents

DOCUMENTS = [np.arange(100 * i, 100 * i + n) for i, n in enumerate([7, 1, 12, 3, 9, 0, 5, 4, 2])]


def test_documents_are_predicted_whole_and_never_mixed() -> None:
    streams = data.DocumentStreams(DOCUMENTS, 3, 4, seed=1)
    passes = []
    for _ in range(2):
        pairs: list[tuple[int, int]] = []
        last: list[int | None] = [None] * 3
        for batch in streams:
            for b in range(3):
                n = batch.lengths[b]
                x, targets = batch.x[:n, b].tolist(), batch.targets[:n, b].tolist()
                assert (batch.targets[n:, b] == -100).all()
                if n:
                    assert batch.starts[b] == (x[0] % 100 == 0)
                    if not batch.starts[b]:
                        assert x[0] == last[b]  # the stream continues where it was
                    last[b] = targets[-1]
                pairs += zip(x, targets, strict=True)
        expected = [(a, a + 1) for d in DOCUMENTS for a in d[:-1].tolist()]
        assert sorted(pairs) == sorted(expected)
        passes.append(pairs)
    assert passes[0] != passes[1]
    assert len(list(streams)) == len(streams)


def test_a_state_is_reset_where_documents_start() -> None:
    state = (np.ones((2, 3, 4)), np.ones((2, 3, 4)))
    starts = np.array([False, True, False])
    h, c = data.reset_state(state, starts)
    assert h[:, 1].max() == c[:, 1].max() == 0
    assert h[:, [0, 2]].min() == state[0].min() == 1
    assert data.reset_state(state, np.zeros(3, bool)) is state
    assert data.reset_state(None, starts) is None


def test_streams_of_documents_give_the_losses_of_each_document_alone() -> None:
    vocabulary = Vocabulary("abcdefgh")
    documents = [np.random.default_rng(i).integers(0, 8, n) for i, n in enumerate([7, 12, 3, 9])]
    model = CharLM(vocabulary, CharLMConfig("lstm", 6, dtype="float64"), seed=1).eval()

    def learn(_: CharLM, batch: data.DocumentBatch, state: Any) -> tuple[float, Any]:
        y, state = model.recurrent(batch.x, state, batch.lengths)
        return rnnfast.cross_entropy(model.head(y), batch.targets), state

    carried = CarriedState(learn)
    total = 0.0
    for batch in data.DocumentStreams(documents, 2, 4):
        total += carried(model, batch) * batch.lengths.sum()
    alone = 0.0
    for document in documents:
        y, _ = model.recurrent(document[:-1, None])
        alone += rnnfast.cross_entropy(model.head(y), document[1:, None]) * (len(document) - 1)
    assert total == pytest.approx(alone, rel=1e-12)


@pytest.mark.parametrize(
    ("documents", "error", "message"),
    [
        ([np.arange(3), np.arange(1)], ValueError, "documents: expected at least 2 .*, got 1"),
        ([np.arange(3), np.zeros((2, 2), int)], ValueError, r"documents\[1\]: expected shape"),
        ([np.arange(3), np.zeros(4)], TypeError, r"documents\[1\]: expected integers, got float64"),
    ],
)
def test_streams_of_documents_refuse(documents: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        data.DocumentStreams(documents, 2, 4)


# ---- texts in files


def test_streams_of_a_file_are_contiguous(tmp_path: Path) -> None:
    content = np.random.default_rng(0).integers(0, 256, 1003).astype(np.uint8)
    (tmp_path / "text").write_bytes(content.tobytes())
    text = data.TextFile(tmp_path / "text")
    np.testing.assert_array_equal(text[:], content)
    for part in (slice(5, 9), slice(9, 5), slice(-7, None, 3), slice(2000, 3000)):
        np.testing.assert_array_equal(text[part], content[part])
    for end in (None, 900):
        streams = text.streams(4, 16, end=end)
        size = 1003 if end is None else end
        length = (size - 1) // 4
        assert len(streams) == length // 16
        read = list(streams)
        assert [b.starts for b in read] == [True] + [False] * (len(streams) - 1)
        x = np.concatenate([b.x for b in read])
        targets = np.concatenate([b.targets for b in read])
        for b in range(4):
            stream = content[b * length : b * length + len(x) + 1]
            np.testing.assert_array_equal(x[:, b], stream[:-1])
            np.testing.assert_array_equal(targets[:, b], stream[1:])


def test_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "short").write_bytes(b"abc")
    with pytest.raises(ValueError, match="empty: expected at least one byte, got an empty file"):
        data.TextFile(tmp_path / "empty")
    with pytest.raises(OSError, match="No such file"):
        data.TextFile(tmp_path / "gone")
    text = data.TextFile(tmp_path / "short")
    with pytest.raises(ValueError, match=r"text: expected at least .* = 7 bytes, got 3"):
        text.streams(2, 3)
    with pytest.raises(ValueError, match="end: expected at most 3, got 4"):
        text.streams(1, 1, end=4)
    (tmp_path / "short").write_bytes(b"a")
    with pytest.raises(OSError, match=r"short: expected 3 bytes, .* it ends after 1"):
        text[:]


READ = """
import sys
from pathlib import Path
from rnnfast import data

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) << 10

text = data.TextFile(sys.argv[1])
streams = text.streams(64, 4096)
batches = iter(streams)
next(batches)
before = highest = resident()
bytes_read = 0
for batch in batches:
    bytes_read += batch.x.size
    highest = max(highest, resident())
    if bytes_read > 1 << 26:
        break
print(len(text), bytes_read, highest - before)
"""


def test_memory_stays_flat_over_a_file_of_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    path.touch()
    os.truncate(path, 5 << 30)  # sparse, so it takes no disk space
    done = subprocess.run(
        [sys.executable, "-c", READ, path], capture_output=True, text=True, check=True
    )
    size, read, grown = map(int, done.stdout.split())
    assert size == 5 << 30
    assert read > 1 << 26
    assert grown < 1 << 23


# ---- positions


def made(kind: str, tmp_path: Path) -> data.Passes[Any]:
    if kind == "arrays":
        return data.batches(np.arange(23), batch_size=4, seed=2)
    if kind == "buckets":
        return data.bucket_batches(SEQUENCES[:30], 4, bucket=2, seed=2)
    if kind == "documents":
        return data.DocumentStreams(DOCUMENTS, 3, 2, seed=2)
    (tmp_path / "text").write_bytes(bytes(range(200)))
    return data.TextFile(tmp_path / "text").streams(3, 9)


def flat(batch: Any) -> bytes:
    parts = batch if isinstance(batch, tuple) else (batch,)
    return b"".join(np.asarray(part).tobytes() for part in parts if part is not None)


@pytest.mark.parametrize("kind", ["arrays", "buckets", "documents", "file"])
def test_batches_go_on_at_a_position_that_was_saved(kind: str, tmp_path: Path) -> None:
    whole = made(kind, tmp_path)
    expected = [flat(b) for _ in range(3) for b in whole]
    n = len(whole)
    assert len(expected) == 3 * n
    for stop in (0, 1, n - 1, n, n + 2):
        first = made(kind, tmp_path)
        got: list[bytes] = []
        while len(got) < stop:
            for batch in first:
                got.append(flat(batch))
                if len(got) == stop:
                    break
        state = copy.deepcopy(first.state_dict())
        second = made(kind, tmp_path)
        second.load_state_dict(state)
        assert second.state_dict() == state
        while len(got) < 3 * n:
            got += [flat(batch) for batch in second]
        assert got == expected


def test_positions_are_checked() -> None:
    batches = data.batches(np.arange(5), batch_size=2)
    for state, error, message in [
        ({"epoch": 0}, ValueError, "state: missing 'index'"),
        ({"epoch": 0, "index": 3}, ValueError, "index: expected at most 2, got 3"),
        ({"epoch": "0", "index": 0}, TypeError, "epoch: expected an integer, got str"),
    ]:
        with pytest.raises(error, match=message):
            batches.load_state_dict(state)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("stop", [3, 7])
def test_a_run_over_a_file_goes_on_bit_by_bit(tmp_path: Path, stop: int) -> None:
    (tmp_path / "text").write_bytes(b"the quick brown fox jumps over the lazy dog. " * 12)
    text = data.TextFile(tmp_path / "text")

    def trainer(steps: int, **rest: Any) -> Trainer:
        model = CharLM(ByteVocabulary(), CharLMConfig("lstm", 8), seed=1)

        def learn(model: CharLM, batch: Any, state: Any) -> tuple[Any, Any]:
            if model.training:
                return model.learn(batch.x, batch.targets, state)
            logits, state = model(batch.x, state)
            return rnnfast.cross_entropy(logits, batch.targets), state

        return Trainer(
            model,
            text.streams(4, 16, end=400),
            CarriedState(learn),
            optimizer=rnnfast.Adam(model, 1e-2),
            validation=text.streams(2, 16),
            items=lambda batch: batch.x.size,
            options=RunOptions(steps=steps, validate_every=2),
            **rest,
        )

    whole = trainer(12)
    whole.run()
    path = tmp_path / "run.safetensors"
    trainer(stop, output=path).run()
    resumed = trainer(12)
    resumed.restore(path)
    resumed.run()
    for name, value in whole.model.state_dict().items():
        assert value.tobytes() == resumed.model.state_dict()[name].tobytes(), name
    assert resumed.validation_loss == whole.validation_loss < 5.5
