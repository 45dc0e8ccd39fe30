"""Estimators that predict one target per sequence."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.model_selection import train_test_split
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
)

from rnnfast._engine import checks
from rnnfast._engine.backends import check_unmasked
from rnnfast.layers.containers import Sequential
from rnnfast.layers.dense import Linear
from rnnfast.layers.pooling import Last
from rnnfast.layers.recurrent import Recurrent
from rnnfast.losses.cross_entropy import softmax_cross_entropy
from rnnfast.losses.regression import huber, l1, mse
from rnnfast.sklearn.fitting import fit, seeds
from rnnfast.sklearn.scaling import Scaling
from rnnfast.sklearn.sequences import Sequences, read

if TYPE_CHECKING:
    from typing_extensions import Self

LOSSES: dict[str, Callable[..., Any]] = {
    "squared_error": mse,
    "absolute_error": l1,
    "huber": huber,
}
_ROWS = 1024  # sequences in a batch of `predict`


class _Recurrent(BaseEstimator):
    """A recurrent network that reads a sequence, and a linear layer on its last output."""

    def __init__(
        self,
        cell: str = "gru",
        hidden_size: int = 32,
        num_layers: int = 1,
        *,
        input_size: int = 1,
        max_iter: int = 100,
        batch_size: int = 32,
        learning_rate: float = 0.01,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.cell = cell
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.input_size = input_size
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def _fit(
        self,
        sequences: Sequences,
        targets: NDArray[Any],
        outputs: int,
        loss: Callable[..., Any],
        stratify: NDArray[Any] | None = None,
    ) -> None:
        """Train a network with the given number of outputs on targets (n, ...)."""
        self._scaling = Scaling.of(sequences.steps)
        of_layer, of_head, of_order, of_split = seeds(self.random_state, 4)
        arrays: list[Any] = [self._scaling.apply(sequences.x), sequences.lengths, targets]
        held_out = None
        if checks.boolean("early_stopping", self.early_stopping):
            halves = train_test_split(
                *arrays,
                test_size=_fraction("validation_fraction", self.validation_fraction),
                random_state=of_split,
                stratify=stratify,
            )
            arrays, held_out = halves[::2], halves[1::2]
        model = Sequential(
            Recurrent(
                self.cell,
                sequences.x.shape[2],
                self.hidden_size,
                self.num_layers,
                batch_first=True,
                seed=of_layer,
            ),
            Last(batch_first=True),
            Linear(self.hidden_size, outputs, seed=of_head),
        )

        def learn(model: Any, batch: Any) -> float:
            x, lengths, target = batch
            measured, dy = loss(model(x, lengths), target)
            if model.training:
                model.backward(dy, need_dx=False)
            return float(measured)

        fitted = fit(model, learn, arrays, held_out, self, of_order)
        self.model_ = model
        self.loss_curve_ = fitted.losses
        self.validation_losses_ = fitted.validation_losses
        self.n_iter_ = len(fitted.losses)

    def _outputs(self, X: Any) -> NDArray[np.float32]:
        """Return the outputs (n, outputs) of the network for X."""
        check_is_fitted(self)
        sequences = read(self, X, reset=False)
        x = self._scaling.apply(sequences.x)
        parts = range(0, len(x), _ROWS)
        return np.concatenate(
            [self.model_(x[i : i + _ROWS], sequences.lengths[i : i + _ROWS]) for i in parts]
        )


class RecurrentRegressor(RegressorMixin, _Recurrent):
    """Regression on sequences, with one or several targets for each.

    X is a table (n, features), an array (n, T, I), or a list of n sequences of unequal length, each
    (T, I). A row of a table is a sequence of features / input_size steps, the features of the first
    step before those of the second: with input_size=1 the columns are the steps of one series. The
    same holds for one-dimensional sequences in a list. X and y are scaled internally, so that those
    passed to `fit` have mean 0 and standard deviation 1.

    Args:
        cell: The recurrent cell, one of `rnnfast.cells.ZOO`.
        hidden_size: Number of units in each recurrent layer.
        num_layers: Number of stacked recurrent layers.
        input_size: Number of features of a step if X is a table.
        loss: "squared_error", "absolute_error" or "huber", of the scaled targets.
        max_iter: Largest number of passes over the data.
        batch_size: Number of sequences in a step of the optimiser, Adam.
        learning_rate: Learning rate of the optimiser.
        early_stopping: Whether to hold out sequences, end after `n_iter_no_change` passes without a
            new best loss on them, and keep the weights of the best pass.
        validation_fraction: Fraction of the sequences to hold out for early stopping.
        n_iter_no_change: Number of passes without a new best loss that end training early.
        random_state: Seed of the weights, of the order of the data and of the choice of held-out
            sequences; an integer makes results reproducible.

    Attributes:
        model_: The network, a `rnnfast.Sequential` in evaluation mode, for scaled values.
        loss_curve_: Mean training loss of each pass.
        validation_losses_: Loss on the held-out data after each pass; None without early stopping.
        n_iter_: Number of passes over the data.
        n_features_in_: Number of columns if X was a table, otherwise of features of a step.
        feature_names_in_: Names of the columns, if X was a table with names.
    """

    def __init__(
        self,
        cell: str = "gru",
        hidden_size: int = 32,
        num_layers: int = 1,
        *,
        input_size: int = 1,
        loss: str = "squared_error",
        max_iter: int = 100,
        batch_size: int = 32,
        learning_rate: float = 0.01,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        super().__init__(
            cell,
            hidden_size,
            num_layers,
            input_size=input_size,
            max_iter=max_iter,
            batch_size=batch_size,
            learning_rate=learning_rate,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            random_state=random_state,
        )
        self.loss = loss

    def fit(self, X: Any, y: Any) -> Self:
        """Train on sequences X and their targets y, (n,) or (n, outputs).

        Raises:
            ValueError: Shapes do not fit, a value is not finite, or a parameter is out of range.
            TypeError: An argument is of the wrong type.
            rnnfast.training.TrainingError: Training diverged.
        """
        loss = LOSSES[checks.choice("loss", self.loss, LOSSES)]
        sequences = read(self, X, reset=True)
        targets = check_array(_given(self, y), dtype=np.float64, ensure_2d=False, input_name="y")
        check_consistent_length(sequences.x, targets)
        self._one_output = targets.ndim == 1
        if self._one_output:
            targets = targets[:, None]
        self._target_scaling = Scaling.of(targets)
        self._fit(sequences, self._target_scaling.apply(targets), targets.shape[1], loss)
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Predict the targets of sequences X, in the shape of y in `fit`.

        Raises:
            ValueError: X does not match that of `fit`, or a value is not finite.
            TypeError: X does not hold real numbers.
            sklearn.exceptions.NotFittedError: `fit` was not called.
        """
        outputs = self._outputs(X)
        y: NDArray[np.float64] = self._target_scaling.undo(outputs)
        return y[:, 0] if self._one_output else y

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        return tags


class RecurrentClassifier(ClassifierMixin, _Recurrent):
    """Classification of sequences.

    X and all parameters are those of `RecurrentRegressor`, except that the loss is always cross
    entropy. Held-out sequences are stratified by class.

    Attributes:
        classes_: The classes, sorted.
        model_, loss_curve_, validation_losses_, n_iter_, n_features_in_, feature_names_in_: As in
            `RecurrentRegressor`; the network computes logits (n, len(classes_)).
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Train on sequences X and their classes y, (n,).

        Raises:
            ValueError: Shapes do not fit, a value is not finite, y has only one class, or a
                parameter is out of range.
            TypeError: An argument is of the wrong type.
            rnnfast.training.TrainingError: Training diverged.
        """
        sequences = read(self, X, reset=True)
        labels = column_or_1d(_given(self, y), warn=True)
        labels = check_array(labels, dtype=None, ensure_2d=False, input_name="y")
        check_consistent_length(sequences.x, labels)
        check_classification_targets(labels)
        self.classes_, numbers = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y: expected at least two classes, got 1 class, {self.classes_[0]!r}")
        self._fit(sequences, numbers, len(self.classes_), softmax_cross_entropy, numbers)
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probabilities (n, len(classes_)) of the classes for sequences X.

        The errors are those of `predict`.
        """
        logits = self._outputs(X).astype(np.float64)
        odds: NDArray[np.float64] = np.exp(logits - logits.max(1, keepdims=True))
        odds /= odds.sum(1, keepdims=True)
        return odds

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most likely classes (n,) of sequences X.

        Raises:
            ValueError: X does not match that of `fit`, or a value is not finite.
            TypeError: X does not hold real numbers.
            sklearn.exceptions.NotFittedError: `fit` was not called.
        """
        outputs = self._outputs(X)
        classes: NDArray[Any] = self.classes_[outputs.argmax(1)]
        return classes


def _fraction(name: str, value: float) -> float:
    """Return a number between 0 and 1, for which scikit-learn would also take a count."""
    fraction = checks.number(name, value, 0, 1)
    if not 0 < fraction < 1:
        raise ValueError(f"{name}: expected a number between 0 and 1, got {value}")
    return fraction


def _given(estimator: BaseEstimator, y: Any) -> Any:
    """Return y, or raise an error if it is None."""
    if y is None:
        name = type(estimator).__name__
        raise ValueError(f"{name} requires y to be passed, but the target y is None")
    check_unmasked("y", y)
    return y
