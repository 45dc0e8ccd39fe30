"""Input X of estimators: sequences, in the forms that users of scikit-learn expect."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_array, validate_data

from rnnfast._engine import checks
from rnnfast._engine.backends import array_of, check_unmasked

_REAL = (np.float64, np.float32)


class Sequences(NamedTuple):
    """Sequences padded to equal length.

    Attributes:
        x: The sequences (n, T, I), padded with zeros.
        lengths: Their lengths (n,) as int64 in [1, T].
    """

    x: NDArray[np.floating]
    lengths: NDArray[np.int64]

    @property
    def steps(self) -> NDArray[np.floating]:
        """The steps (N, I) of all sequences, without padding."""
        return self.x[np.arange(self.x.shape[1]) < self.lengths[:, None]]


def read(estimator: Any, X: Any, *, reset: bool) -> Sequences:
    """Read X, and store its features in the estimator or check them against those stored.

    For an estimator fitted to a table X (n, features), `n_features_in_` and `feature_names_in_`
    describe the columns, and it accepts only tables with these columns, as all scikit-learn
    estimators do. If it was fitted to other sequences, `n_features_in_` is the number of features
    of a step.

    Args:
        estimator: The estimator, whose `input_size` says how to cut rows of numbers into steps.
        X: A table (n, features), whose rows have features / input_size steps; an array (n, T, I);
            or a list of n sequences, each (T, I) or a row of numbers.
        reset: Whether to store the features of X, as `fit` does, and not check them.

    Raises:
        ValueError: X has no sequences, shapes do not fit, or a value is not finite.
        TypeError: X does not hold real numbers, or is sparse.
    """
    size = checks.positive_int("input_size", estimator.input_size)
    check_unmasked("X", X)
    for i, row in enumerate(X if isinstance(X, (list, tuple)) else ()):
        check_unmasked(f"X[{i}]", row)
    rows = _rows(X)
    if rows is not None:
        found = _padded([_sequence(f"X[{i}]", row, size) for i, row in enumerate(rows)])
        table = False
    else:
        array = array_of("X", X) if isinstance(X, (list, tuple)) else X
        table = getattr(array, "ndim", 2) < 3
        if table and (reset or estimator._fitted_to_table):
            array = validate_data(estimator, array, reset=reset, dtype=_REAL)
        else:
            array = check_array(
                array, dtype=_REAL, allow_nd=True, estimator=estimator, input_name="X"
            )
        found = _whole(_cut("X", array, size) if table else _of_steps(array))
    features = found.x.shape[2]
    if reset:
        estimator._fitted_to_table, estimator._step_features = table, features
        if not table:
            estimator.n_features_in_ = features
            vars(estimator).pop("feature_names_in_", None)
    elif features != estimator._step_features:
        raise ValueError(
            f"X: expected {estimator._step_features} features per step, as in fit, got {features}"
        )
    return found


def _rows(X: Any) -> list[Any] | None:
    """Return the sequences of a list if they differ in length, and so form no array; else None."""
    if not isinstance(X, (list, tuple)) and not (
        isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1
    ):
        return None
    if not len(X) or not all(isinstance(row, (list, tuple, np.ndarray)) for row in X):
        return None
    return list(X) if isinstance(X, np.ndarray) or len({len(row) for row in X}) > 1 else None


def _sequence(name: str, row: Any, size: int) -> NDArray[np.floating]:
    """Return one sequence (T, I)."""
    array: NDArray[np.floating] = check_array(
        array_of(name, row), dtype=_REAL, ensure_2d=False, input_name=name
    )
    return array if array.ndim > 1 else _cut(name, array[None], size)[0]


def _cut(name: str, rows: NDArray[np.floating], size: int) -> NDArray[np.floating]:
    """Return rows (n, features) as sequences (n, features / size, size)."""
    if rows.shape[1] % size:
        raise ValueError(
            f"{name}: expected a multiple of input_size = {size} features, as a row is a sequence "
            f"of steps with input_size features each, got {rows.shape[1]}"
        )
    return rows.reshape(len(rows), -1, size)


def _of_steps(x: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return sequences, which must be (n, T, I)."""
    if x.ndim != 3 or not x.shape[1] * x.shape[2]:
        raise ValueError(
            "X: expected shape (n, steps, features) with at least one step and feature, got "
            f"{x.shape}"
        )
    return x


def _whole(x: NDArray[np.floating]) -> Sequences:
    return Sequences(x, np.full(len(x), x.shape[1]))


def _padded(sequences: list[NDArray[np.floating]]) -> Sequences:
    width = sequences[0].shape[1]
    for i, sequence in enumerate(sequences):
        if sequence.shape[1] != width:
            raise ValueError(
                f"X[{i}]: expected {width} features per step, as in X[0], got {sequence.shape[1]}"
            )
    lengths = np.array([len(sequence) for sequence in sequences])
    x = np.zeros((len(sequences), lengths.max(), width), np.result_type(*sequences))
    for row, sequence in zip(x, sequences, strict=True):
        row[: len(sequence)] = sequence
    return Sequences(x, lengths)
