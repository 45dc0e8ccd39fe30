"""Table rows, masked copies, cross-entropy and dropout against float64 NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from device_kernels import EPS, SCHEDULES, UNDER_TSAN, Kernels, reals
from numpy.typing import NDArray

from philox import dropout_mask

every_schedule = pytest.mark.parametrize("schedule", SCHEDULES)
TABLES = [(1, 1), (5, 33), (300, 7)]  # rows, columns
COUNTS = [1, 9, 50, 600, 1100]  # of indices; the last two exceed a block of the sort


def indices_of(count: int, rows: int) -> NDArray[np.int64]:
    """Return indices, some of them frequent, most rare and some absent."""
    draw = np.random.default_rng(count)
    return (rows * draw.random(count) ** 3).astype(np.int64)


def gather(
    kernels: Kernels, table: NDArray, index: NDArray, bias: NDArray | None, transposed: bool
):
    rows, columns = table.shape
    y = kernels.nan(len(index), columns + 2)
    kernels.call(
        "gather_rows",
        table=kernels.put(table.T if transposed else table),
        table_rows=rows,
        columns=columns,
        transposed=transposed,
        indices=kernels.put(index),
        count=len(index),
        bias=0 if bias is None else kernels.put(bias),
        y=y,
        ldy=columns + 2,
    )
    got = kernels.get(y)
    assert np.isnan(got[:, columns:]).all()
    return got[:, :columns]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("count", COUNTS[:3])
@pytest.mark.parametrize(("rows", "columns"), TABLES)
def test_gather_rows(device: str, rows: int, columns: int, count: int, transposed: bool) -> None:
    kernels = Kernels(device)
    table, bias, index = reals(1, rows, columns), reals(2, columns), indices_of(count, rows)
    np.testing.assert_array_equal(gather(kernels, table, index, None, transposed), table[index])
    got = gather(kernels, table, index, bias, transposed)
    np.testing.assert_array_equal(got, table[index] + bias)


def scatter(kernels: Kernels, table: NDArray, index: NDArray, dy: NDArray, transposed: bool):
    rows, columns = table.shape
    out = kernels.put(table.T if transposed else table)
    workspace = kernels.engine.extension.scatter_workspace(len(index))
    kernels.call(
        "scatter_rows",
        dy=kernels.put(np.pad(dy, ((0, 0), (0, 1)), constant_values=np.nan)),
        lddy=columns + 1,
        indices=kernels.put(index),
        count=len(index),
        table=out,
        table_rows=rows,
        columns=columns,
        transposed=transposed,
        workspace=kernels.nan(workspace // 8, dtype=np.float64),
    )
    got = kernels.get(out)
    return got.T if transposed else got


@every_schedule
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize(("rows", "columns"), TABLES)
def test_scatter_rows_adds_in_order(
    device: str, rows: int, columns: int, count: int, transposed: bool, schedule: tuple[str, int]
) -> None:
    large = count >= 600
    if (
        UNDER_TSAN
        and large
        and (count, columns, transposed, schedule) != (600, 1, False, SCHEDULES[0])
    ):
        pytest.skip("ThreadSanitizer takes half a millisecond for each CUDA thread")
    table, dy, index = reals(1, rows, columns), reals(2, count, columns), indices_of(count, rows)
    sums = np.zeros_like(table)
    for n, i in enumerate(index):
        sums[i] += dy[n]
    got = scatter(Kernels(device, schedule), table, index, dy, transposed)
    np.testing.assert_array_equal(got, table + sums)


def test_indices_out_of_range_touch_no_memory(device: str) -> None:
    kernels = Kernels(device)
    table, index = reals(1, 4, 3), np.array([3, -1, 4, 2**32 + 1, -(2**40), 0])
    good = (index >= 0) & (index < 4)
    rows = gather(kernels, table, index, None, False)
    assert np.isnan(rows[~good]).all()
    np.testing.assert_array_equal(rows[good], table[index[good]])
    got = scatter(kernels, table, index, reals(2, 6, 3), False)
    expected = table.copy()
    expected[index[good]] += reals(2, 6, 3)[good]
    np.testing.assert_array_equal(got, expected)


def test_copy_masked(device: str) -> None:
    kernels = Kernels(device)
    x, lengths = reals(1, 5, 4, 37), np.array([5, 0, 3, 1], np.int32)
    x[np.arange(5)[:, None] >= lengths] = np.nan
    out = kernels.nan(*x.shape)
    sizes = {"steps": 5, "batch": 4, "width": 37}
    kernels.call("copy_masked", from_=kernels.put(x), lengths=kernels.put(lengths), to=out, **sizes)
    np.testing.assert_array_equal(kernels.get(out), np.nan_to_num(x, nan=0.0))


def cross_entropy(kernels: Kernels, logits: NDArray, targets: NDArray, gradient: bool = True):
    """Return (mean, number of targets that count), losses and the gradient."""
    rows, classes = logits.shape
    losses, result = kernels.nan(rows), kernels.nan(2, dtype=np.float64)
    dlogits = kernels.nan(rows, classes)
    kernels.call(
        "cross_entropy",
        logits=kernels.put(logits),
        targets=kernels.put(targets),
        rows=rows,
        classes=classes,
        ignore_index=-100,
        losses=losses,
        dlogits=dlogits if gradient else 0,
        result=result,
    )
    return kernels.get(result), kernels.get(losses), kernels.get(dlogits)


@every_schedule
@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("classes", [1, 5, 65, 1500])
@pytest.mark.parametrize("rows", [1, 13])
def test_cross_entropy(
    device: str, rows: int, classes: int, ignored: bool, schedule: tuple[str, int]
) -> None:
    kernels = Kernels(device, schedule)
    logits = 5 * reals(1, rows, classes)
    logits[0] += 1000  # only differences of logits count
    targets = np.random.default_rng(2).integers(0, classes, rows)
    counts = np.ones(rows, bool)
    if ignored:
        counts[::3] = False
    exact = logits.astype(float)
    shifted = exact - exact.max(-1, keepdims=True)
    log_sums = np.log(np.exp(shifted).sum(-1))
    losses = np.where(counts, log_sums - shifted[np.arange(rows), targets], 0)
    softmax = np.exp(shifted - log_sums[:, None])
    hot = targets[:, None] == np.arange(classes)
    gradient = np.where(counts[:, None], softmax - hot, 0) / max(counts.sum(), 1)
    targets = np.where(counts, targets, -100)

    (mean, count), got_losses, got_gradient = cross_entropy(kernels, logits, targets)
    assert count == counts.sum()
    np.testing.assert_allclose(got_losses, losses, rtol=8 * EPS, atol=8 * EPS)
    np.testing.assert_allclose(mean, losses.sum() / count if count else np.nan, rtol=8 * EPS)
    # expf of a rounded difference is off by as many ulp as the difference is large.
    tolerance = EPS * (70 * softmax + hot) / max(counts.sum(), 1)
    assert (abs(got_gradient - gradient) <= tolerance).all()
    without = cross_entropy(kernels, logits, targets, gradient=False)
    np.testing.assert_array_equal(without[0], (mean, count))
    assert np.isnan(without[2]).all()


def test_cross_entropy_of_bad_targets_and_logits(device: str) -> None:
    kernels = Kernels(device)
    targets = np.array([0, 7, -1, 2**32, 2, -100])
    logits = reals(1, 6, 3)
    logits[4, 1] = np.nan
    (mean, count), losses, gradient = cross_entropy(kernels, logits, targets)
    assert np.isnan(mean)
    assert count == 5
    bad = np.array([False, True, True, True, True, False])
    np.testing.assert_array_equal(np.isnan(losses), bad)
    np.testing.assert_array_equal(np.isnan(gradient), bad[:, None] & np.ones(3, bool))
    nothing = cross_entropy(kernels, logits, np.full(6, -100))
    assert np.isnan(nothing[0][0])
    assert not nothing[1].any()
    assert not nothing[2].any()


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("count", [1, 4, 1027])
def test_dropout_has_the_mask_of_every_device(device: str, count: int, p: float) -> None:
    kernels = Kernels(device)
    x, seed = reals(1, count), 0xFEDCBA9876543210
    mask = dropout_mask(count, p, seed, 2) if p < 1 else np.zeros(count)
    out = kernels.nan(count)
    in_place = kernels.put(x)
    for source, to in ((kernels.put(x), out), (in_place, in_place)):
        kernels.call("dropout", from_=source, count=count, p=p, seed=seed, layer=2, to=to)
        np.testing.assert_array_equal(kernels.get(to), x * mask.astype(np.float32))


def test_schedules_leave_no_trace(device: str) -> None:
    """Sums give the same bits whichever thread comes first."""
    a, index = reals(1, 60, 40), indices_of(60, 9)

    def run(schedule: tuple[str, int]) -> list[NDArray]:
        kernels = Kernels(device, schedule)
        sums = kernels.nan(40)
        kernels.call("column_sum", a=kernels.put(a), rows=60, columns=40, lda=40, out=sums)
        table = scatter(kernels, np.zeros((9, 40), np.float32), index, a, False)
        return [kernels.get(sums), table, *cross_entropy(kernels, a, index)]

    first = run(SCHEDULES[0])
    for schedule in SCHEDULES[1:]:
        for got, expected in zip(run(schedule), first, strict=True):
            np.testing.assert_array_equal(got, expected)
