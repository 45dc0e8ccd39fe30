"""How well each unit tells each concept: areas under ROC curves, correlations, thresholds.

A unit's values are sorted once for each part of the text, and all concepts use the ranks.

p-values. Neighbouring characters are alike, both in the units' values and in the concepts, so that
a test that takes them for independent would find significance everywhere. The concept is therefore
moved along the text in a circle, by many random shifts: that keeps both courses as they are, and
breaks only what connects them (Theiler et al. 1992 on surrogate data; Harris 2021, "Nonsense
correlations in neuroscience"). The score of a unit is compared with the best score of all units
at each shift. This corrects for the number of units, and takes into account how alike they are
(Westfall and Young 1993, the single-step maximum), where Bonferroni would need millions of shifts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnnfast.inspection.result import COUNT, YES_NO, Concept

Array = NDArray[np.float64]

_BLOCK = 32  # units whose ranks are computed together
_LEVELS = 1024  # of a unit's values, among which a threshold is chosen
_SHIFTS = 199  # p-values are at least 1 / (_SHIFTS + 1)
_SHIFTS_AT_ONCE = 16
_NEAR = 0.05  # a shift by less than this share of the text might keep the connection


class Ranks(NamedTuple):
    """The order of M values.

    Attributes:
        sorted: (M,) the values, ascending.
        ranks: (M,) from 0, where equal values share the mean of their ranks.
    """

    sorted: NDArray[np.floating]
    ranks: Array


def rank(values: NDArray[np.floating]) -> Ranks:
    """Rank values (M,)."""
    order = np.argsort(values)
    ascending = values[order]
    new = np.concatenate([[True], ascending[1:] != ascending[:-1]])
    ranks = np.empty(values.size)
    if new.all():
        ranks[order] = np.arange(values.size)
    else:
        bounds = np.append(np.flatnonzero(new), values.size)
        ranks[order] = ((bounds[:-1] + bounds[1:] - 1) / 2)[np.cumsum(new) - 1]
    return Ranks(ascending, ranks)


def auc(ranks: Array, labels: NDArray[Any]) -> Any:
    """Return the area under the ROC curve: the share of (yes, no) pairs that are in order.

    Args:
        ranks: (..., M) from 0.
        labels: (M,) or (M, K) of 0 and 1, both of which occur.
    """
    yes = labels.sum(0)
    no = labels.shape[0] - yes
    return (ranks @ labels - yes * (yes - 1) / 2) / (yes * no)


def r2(predicted: Array, values: Array) -> float:
    """Return the share of the variance of `values` that is predicted; negative if it grows."""
    rest, all_ = values - predicted, values - values.mean()
    return 1 - float(rest @ rest) / float(all_ @ all_)


class _Part(NamedTuple):
    """A part of the text, of M characters, with the values of K concepts."""

    values: Array  # (M, K)
    rank_targets: Array  # (M, K): what ranks of units are compared with; 0 and 1, or mean ranks

    @classmethod
    def of(cls, columns: list[NDArray[Any]]) -> _Part:
        ranked = [c if c.dtype == bool else rank(c).ranks for c in columns]
        return cls(np.stack(columns, 1).astype(float), np.stack(ranked, 1).astype(float))


class _Found(NamedTuple):
    """Results of some units and K concepts, (units, K) each."""

    auc: Array
    sign: Array
    threshold: Array
    spearman: Array
    r2: Array


def score(
    activations: NDArray[np.float32], annotations: Mapping[str, NDArray[Any]], held_out: int
) -> dict[str, Concept]:
    """Score every unit for every concept, without probes.

    Args:
        activations: (N, U) the units' values.
        annotations: For each concept its values (N,), which must vary in both parts of the text.
        held_out: Where the part that scores are of begins.

    Returns:
        The concepts by name.
    """
    columns = [a if a.dtype == bool else a.astype(float) for a in annotations.values()]
    yes_no = np.array([column.dtype == bool for column in columns])
    first = _Part.of([column[:held_out] for column in columns])
    second = _Part.of([column[held_out:] for column in columns])
    units = activations.shape[1]
    centred = np.empty((units, second.values.shape[0]), np.float32)  # ranks on held-out text
    blocks = []
    for start in range(0, units, _BLOCK):
        values = np.ascontiguousarray(activations[:, start : start + _BLOCK].T)
        train, test = (
            [rank(row) for row in part] for part in (values[:, :held_out], values[:, held_out:])
        )
        ranks = np.stack([r.ranks for r in test])
        centred[start : start + _BLOCK] = ranks - ranks.mean(1, keepdims=True)
        blocks.append(_score_block(values.astype(float), train, ranks, (first, second), yes_no))
    found = _Found(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))
    p_values = _p_values(centred, second.rank_targets, found.sign)
    nothing = np.full(units, np.nan)
    return {
        name: Concept(
            name,
            YES_NO if yes else COUNT,
            columns[k],
            found.auc[:, k] if yes else found.r2[:, k],
            found.sign[:, k].astype(np.int64),
            found.threshold[:, k] if yes else nothing,
            nothing if yes else found.spearman[:, k],
            p_values[:, k],
            None,
        )
        for k, (name, yes) in enumerate(zip(annotations, yes_no, strict=True))
    }


def _score_block(
    values: Array,
    train: list[Ranks],
    ranks: Array,
    parts: tuple[_Part, _Part],
    yes_no: NDArray[np.bool_],
) -> _Found:
    """Score some units.

    Args:
        values: (units, N).
        train: The ranks of each unit on the first part.
        ranks: (units, M) on the second part.
        parts: The concepts in both parts.
        yes_no: (K,) which concepts are yes/no.
    """
    first, second = parts
    train_ranks = np.stack([r.ranks for r in train])
    covariance = _centred(train_ranks) @ first.rank_targets
    sign = np.where(covariance < 0, -1.0, 1.0)
    shape = covariance.shape
    area, spearman, fit, threshold = (np.full(shape, np.nan) for _ in range(4))
    area[:, yes_no] = auc(ranks, second.values[:, yes_no])
    area = np.where(sign < 0, 1 - area, area)
    counts = ~yes_no
    spearman[:, counts] = _correlation(ranks, second.rank_targets[:, counts])
    held_out = first.values.shape[0]
    fit[:, counts], slopes = _linear_r2(
        values[:, :held_out],
        values[:, held_out:],
        first.values[:, counts],
        second.values[:, counts],
    )
    sign[:, counts] = np.where(slopes < 0, -1.0, 1.0)
    for u, ranked in enumerate(train):
        for k in np.flatnonzero(yes_no):
            threshold[u, k] = _threshold(ranked, first.values[:, k], sign[u, k])
    return _Found(area, sign, threshold, spearman, fit)


def _threshold(ranked: Ranks, labels: Array, sign: float) -> float:
    """Return the value that maximises sensitivity + specificity; NaN if all values are equal."""
    size = labels.size
    levels = min(size, _LEVELS)
    level = (ranked.ranks * (levels / size)).astype(np.intp)
    all_ = np.bincount(level, minlength=levels)
    yes = np.bincount(level, labels, minlength=levels)
    below, yes_below = np.cumsum(all_)[:-1], np.cumsum(yes)[:-1]
    gain = sign * ((below - yes_below) / (size - yes.sum()) - yes_below / yes.sum())
    gain[(below == 0) | (below == size)] = -np.inf
    best = int(np.argmax(gain))
    if gain[best] == -np.inf:
        return np.nan
    low, high = ranked.sorted[below[best] - 1], ranked.sorted[below[best]]
    return (float(low) + float(high)) / 2


def _linear_r2(x: Array, x_held: Array, y: Array, y_held: Array) -> tuple[Array, Array]:
    """Fit each y (M, K) linearly by each x (units, M), and return R2 and slopes, (units, K)."""
    xc, yc = _centred(x), y - y.mean(0)
    varies = np.ptp(x, axis=1, keepdims=True) > 0
    slope = np.where(varies, xc @ yc, 0) / np.where(varies, (xc * xc).sum(1, keepdims=True), 1)
    offset = y.mean(0) - slope * x.mean(1, keepdims=True)
    xh, yh = _centred(x_held), y_held - y_held.mean(0)
    total = (yh * yh).sum(0)
    mean_error = y_held.mean(0) - offset - slope * x_held.mean(1, keepdims=True)
    rest = total - 2 * slope * (xh @ yh) + slope**2 * (xh * xh).sum(1, keepdims=True)
    return 1 - (rest + len(y_held) * mean_error**2) / total, slope


def _centred(rows: Array) -> Array:
    mean: Array = rows.mean(1, keepdims=True)
    return rows - mean


def _correlation(ranks: Array, targets: Array) -> Array:
    """Return the correlations (units, K) of ranks (units, M) and targets (M, K); 0 if constant."""
    x, y = _centred(ranks), targets - targets.mean(0)
    norm = np.sqrt((x * x).sum(1, keepdims=True) * (y * y).sum(0))
    result: Array = np.divide(x @ y, norm, out=np.zeros_like(norm), where=norm > 0)
    return result


def _p_values(centred: NDArray[np.float32], targets: Array, sign: Array) -> Array:
    """Return the p-values (U, K) of units whose ranks about their mean are `centred`, (U, M)."""
    size = centred.shape[1]
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    centred = np.divide(centred, norms, out=centred, where=norms > 0)
    columns = np.ascontiguousarray((targets - targets.mean(0)).T, np.float32)
    observed = sign * (centred @ columns.T)
    reached: Array = np.ones_like(observed)
    shifts = _shifts(size)
    for start in range(0, len(shifts), _SHIFTS_AT_ONCE):
        some = shifts[start : start + _SHIFTS_AT_ONCE]
        moved = np.concatenate([np.roll(columns, shift, axis=1) for shift in some])
        by_chance = (centred @ moved.T).reshape(len(centred), len(some), -1) * sign[:, None]
        reached += (by_chance.max(0)[None] >= observed[:, None]).sum(1)
    return reached / (len(shifts) + 1)


def _shifts(size: int) -> NDArray[np.int64]:
    near = int(np.ceil(_NEAR * size))
    possible = np.arange(near, size - near + 1)
    return np.random.default_rng(0).permutation(possible)[:_SHIFTS]
