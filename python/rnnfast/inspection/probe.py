"""Sparse linear probes: how few units together tell a concept.

The lasso path takes up units one by one (Efron et al. 2004, "Least angle regression"), and least
squares weighs the first n of them. For a yes/no concept, least squares of 0 and 1 is Fisher's
linear discriminant. All of it needs only the correlations of the units with each other, which are
computed once for all concepts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfast.inspection.result import YES_NO, Concept, Probe
from rnnfast.inspection.scores import Array, auc, r2, rank

_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
_ROWS = 8192  # converted to float64 at a time


def with_probes(
    activations: NDArray[np.float32], concepts: Mapping[str, Concept], held_out: int
) -> dict[str, Concept]:
    """Return the concepts with probes.

    Args:
        activations: (N, U) the units' values.
        concepts: The concepts by name.
        held_out: Where the part that scores are of begins; probes learn from what is before it.
    """
    train, test = activations[:held_out], activations[held_out:]
    low, high = train.min(0), train.max(0)
    mean = train.mean(0, dtype=float)
    # A unit that never changes is 0 then, and never taken up.
    scale = np.where(low < high, train.std(0, dtype=float), np.inf)
    targets = np.stack([c.values.astype(float) for c in concepts.values()], 1)
    targets, held_targets = targets[:held_out], targets[held_out:]
    target_mean, target_scale = targets.mean(0), targets.std(0)
    gram = np.zeros((mean.size, mean.size))
    products = np.zeros((mean.size, len(concepts)))
    for start in range(0, held_out, _ROWS):
        rows = (train[start : start + _ROWS] - mean) / scale
        gram += rows.T @ rows
        products += rows.T @ ((targets[start : start + _ROWS] - target_mean) / target_scale)
    gram, products = gram / held_out, products / held_out
    result = {}
    for k, concept in enumerate(concepts.values()):
        units = _path(gram, products[:, k])
        # A probe does not extrapolate beyond the values that it has learned from.
        read = np.clip(test[:, units], low[units], high[units])
        chosen = (read - mean[units]) / scale[units]
        probes = []
        for size in (size for size in _SIZES if size <= units.size):
            some = units[:size]
            weights = np.linalg.lstsq(gram[np.ix_(some, some)], products[some, k], rcond=None)[0]
            predicted = chosen[:, :size] @ weights * target_scale[k] + target_mean[k]
            probes.append((tuple(map(int, some)), _score(concept, predicted, held_targets[:, k])))
        probe = Probe(*zip(*probes, strict=True)) if probes else None
        result[concept.name] = replace(concept, probe=probe)
    return result


def check_installed() -> None:
    """Raise an ImportError that says what to install if scikit-learn is missing."""
    try:
        import sklearn.linear_model  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "probe: needs the package scikit-learn, which is not installed: "
            "pip install scikit-learn, or do without probes"
        ) from error


def _path(gram: Array, products: Array) -> NDArray[np.intp]:
    """Return the first units that the lasso takes up, at most max(_SIZES)."""
    from sklearn.linear_model import lars_path_gram

    _, _, path = lars_path_gram(
        products, gram, n_samples=1, method="lasso", max_iter=2 * max(_SIZES)
    )
    taken = path != 0
    order = np.argsort(np.where(taken.any(1), taken.argmax(1), taken.shape[1]), kind="stable")
    return order[: min(int(taken.any(1).sum()), max(_SIZES))]


def _score(concept: Concept, predicted: Array, values: NDArray[Any]) -> float:
    if concept.kind == YES_NO:
        return float(auc(rank(predicted).ranks, values))
    return r2(predicted, values)
