"""Forecasts of series over several steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array, check_is_fitted

from rnnfast._engine import checks
from rnnfast._engine.backends import check_unmasked
from rnnfast.layers.containers import Sequential
from rnnfast.layers.dense import Linear
from rnnfast.layers.recurrent import Recurrent
from rnnfast.losses.regression import huber, l1, mse, quantile
from rnnfast.sklearn.fitting import fit, seeds
from rnnfast.sklearn.labels import check_index, following, index_of, labelled, labels_of
from rnnfast.sklearn.scaling import Scaling

if TYPE_CHECKING:
    from typing_extensions import Self

_LOSSES = {"squared_error": mse, "absolute_error": l1, "huber": huber}


class Forecaster(BaseEstimator):
    """Forecasts of a series, or of several together, `horizon` steps ahead.

    A recurrent network reads a window of the series and continues over the future steps, where a
    linear layer turns each of its outputs into a forecast. All steps are forecast in one pass (the
    direct strategy): no forecast is fed back as an input. The inputs of a step are the values of
    the series, which are zero for future steps, its covariates, and a flag for future steps. Values
    are measured from the last known value, in units of the standard deviation of the series, so
    that forecasts continue from the current level of the series, whatever it is.

    Args:
        horizon: The largest number of steps to forecast.
        window: Number of steps from which a forecast is computed.
        cell: The recurrent cell, one of `rnnfast.cells.ZOO`.
        hidden_size: Number of units in each recurrent layer.
        num_layers: Number of stacked recurrent layers.
        quantiles: Quantiles to forecast, increasing between 0 and 1; None for a single forecast.
        loss: "squared_error", "absolute_error" or "huber" for a single forecast. Quantiles always
            use the pinball loss.
        max_iter: Largest number of passes over the windows.
        batch_size: Number of windows in a step of the optimiser, Adam.
        learning_rate: Learning rate of the optimiser.
        early_stopping: Whether to hold out the last windows, end after `n_iter_no_change` passes
            without a new best loss on them, and keep the weights of the best pass.
        validation_fraction: Fraction of the windows to hold out for early stopping.
        n_iter_no_change: Number of passes without a new best loss that end training early.
        random_state: Seed of the weights and of the order of the data; an integer makes results
            reproducible.

    Attributes:
        model_: The network, a `rnnfast.Sequential` in evaluation mode.
        loss_curve_: Mean training loss of each pass.
        validation_losses_: Loss on the held-out data after each pass; None without early stopping.
        n_iter_: Number of passes over the data.
    """

    def __init__(
        self,
        horizon: int = 12,
        window: int = 36,
        cell: str = "gru",
        hidden_size: int = 32,
        num_layers: int = 1,
        *,
        quantiles: Sequence[float] | None = None,
        loss: str = "squared_error",
        max_iter: int = 100,
        batch_size: int = 32,
        learning_rate: float = 0.01,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.horizon = horizon
        self.window = window
        self.cell = cell
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.quantiles = quantiles
        self.loss = loss
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.random_state = random_state

    def fit(self, y: Any, X: Any = None) -> Self:
        """Train on a series.

        Args:
            y: One series (N,), or several (N, K), as an array or a pandas `Series` or `DataFrame`
                with an evenly spaced index. N must be at least window + horizon.
            X: Covariates (N, C), which must be known in advance for future steps; None for none.

        Raises:
            ValueError: The series is too short, shapes or indices do not fit, a value is not
                finite, or a parameter is out of range.
            TypeError: An argument is of the wrong type.
            rnnfast.training.TrainingError: Training diverged.
        """
        horizon = checks.positive_int("horizon", self.horizon)
        window = checks.positive_int("window", self.window)
        self._levels = _levels(self.quantiles)
        self._labels = labels_of(y)
        values, covariates = self._read(y, X)
        windows = len(values) - window - horizon + 1
        if windows < 1:
            raise ValueError(
                f"y: expected at least window + horizon = {window + horizon} steps, got "
                f"{len(values)}"
            )
        self._one_series = np.ndim(y) == 1
        self._series, self._covariates = values.shape[1], covariates.shape[1]
        self._scaling = Scaling.of(values)
        self._covariate_scaling = Scaling.of(covariates)
        self._keep(values, covariates)
        rows = np.concatenate(
            [self._scaling.apply(values), self._covariate_scaling.apply(covariates)], axis=1
        )
        pieces = sliding_window_view(rows, window + horizon, axis=0).transpose(2, 0, 1)
        held_out = None
        if checks.boolean("early_stopping", self.early_stopping):
            pieces, held_out = self._split(pieces)
        of_layer, of_head, of_order = seeds(self.random_state, 3)
        model = Sequential(
            Recurrent(
                self.cell, rows.shape[1] + 1, self.hidden_size, self.num_layers, seed=of_layer
            ),
            Linear(self.hidden_size, self._series * len(self._levels or (0,)), seed=of_head),
        )
        fitted = fit(model, self._learn(), [pieces], held_out, self, of_order, axis=1)
        self.model_ = model
        self.loss_curve_ = fitted.losses
        self.validation_losses_ = fitted.validation_losses
        self.n_iter_ = len(fitted.losses)
        return self

    def update(self, y: Any, X: Any = None) -> Self:
        """Append new steps to the known series, from which the next forecasts continue.

        The network is not trained further.

        Args:
            y: The new steps, in the form of y in `fit`.
            X: Covariates of the new steps, if `fit` had covariates.

        Raises:
            ValueError: Shapes or indices do not fit, or a value is not finite.
            TypeError: An argument is of the wrong type.
            sklearn.exceptions.NotFittedError: `fit` was not called.
        """
        check_is_fitted(self)
        values, covariates = self._read(y, X)
        checks.shape("y", values, (len(values), self._series), "(steps, series) of fit")
        self._check_covariates(X, covariates, len(values))
        if self._labels is not None:
            index = index_of(y)
            if index is None:
                kind = type(y).__name__
                raise TypeError(f"y: expected a Series or DataFrame, as in fit, got {kind}")
            coming = following(self._labels.index, len(values))
            check_index("y", y, coming, "that follows")
            self._labels = replace(self._labels, index=self._labels.index.append(index))
        self._keep(
            np.concatenate([self._values, values]),
            np.concatenate([self._known_covariates, covariates]),
        )
        return self

    def predict(self, horizon: int | None = None, X: Any = None) -> Any:
        """Forecast the steps after the known ones.

        Args:
            horizon: Number of steps, at most the parameter `horizon`; None for as many as X has
                rows, or for all without X.
            X: Covariates (horizon, C) of the future steps, if `fit` had covariates.

        Returns:
            Forecasts in float64, in the form of y in `fit`: (horizon,) for one series, (horizon, K)
            for several, with a further axis for quantiles, along which the forecasts increase. For
            pandas, a `Series` or `DataFrame` whose index continues that of y, with columns for
            quantiles.

        Raises:
            ValueError: The horizon is too large, or X does not fit.
            TypeError: An argument is of the wrong type.
            sklearn.exceptions.NotFittedError: `fit` was not called.
        """
        check_is_fitted(self)
        if horizon is None:
            horizon = self.horizon if X is None else len(X)
        steps = checks.integer("horizon", horizon, 1, self.horizon)
        covariates = self._read_covariates(X, steps)
        self._check_covariates(X, covariates, steps)
        if self._labels is not None:
            check_index("X", X, following(self._labels.index, steps), "of the future steps")
        known = self._scaling.apply(self._values)[:, None]
        told = np.concatenate([self._known_covariates, covariates])
        x, last = _inputs(known, self._covariate_scaling.apply(told)[:, None])
        outputs = self.model_(x)[-steps:, 0].reshape(steps, self._series, -1)
        deviations = (outputs + last[0, :, None]).astype(np.float64)
        forecasts = deviations * self._scaling.deviation[:, None] + self._scaling.mean[:, None]
        if self._levels is None:
            forecasts = forecasts[..., 0]
        else:
            forecasts.sort(axis=-1)  # sorting keeps quantiles from crossing
        if self._labels is not None:
            return labelled(forecasts, self._labels, self._levels)
        return forecasts[:, 0] if self._one_series else forecasts

    # ---- inputs

    def _read(self, y: Any, X: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the values (N, K) and the covariates (N, C)."""
        check_unmasked("y", y)
        values = check_array(y, dtype=np.float64, ensure_2d=False, input_name="y")
        if values.ndim == 1:
            values = values[:, None]
        covariates = self._read_covariates(X, len(values))
        index = index_of(y)
        if index is not None:
            check_index("X", X, index, "of y")
        return values, covariates

    @staticmethod
    def _read_covariates(X: Any, steps: int) -> NDArray[np.float64]:
        if X is None:
            return np.zeros((steps, 0))
        check_unmasked("X", X)
        covariates: NDArray[np.float64] = check_array(X, dtype=np.float64, input_name="X")
        if len(covariates) != steps:
            raise ValueError(f"X: expected {steps} rows, one per step, got {len(covariates)}")
        return covariates

    def _check_covariates(self, X: Any, covariates: NDArray[np.float64], steps: int) -> None:
        if covariates.shape[1] != self._covariates:
            expected = f"shape ({steps}, {self._covariates})" if self._covariates else "None"
            got = "None" if X is None else f"shape {covariates.shape}"
            raise ValueError(f"X: expected {expected}, like the covariates of fit, got {got}")

    def _keep(self, values: NDArray[np.float64], covariates: NDArray[np.float64]) -> None:
        """Store the steps from which forecasts are computed."""
        self._values = values[-self.window :].copy()
        self._known_covariates = covariates[-self.window :].copy()

    # ---- training

    def _split(
        self, pieces: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """Hold out the last windows, so that no remaining window contains their targets."""
        part = checks.finite("validation_fraction", self.validation_fraction, 0)
        count = pieces.shape[1]
        held = int(np.ceil(part * count))
        left = count - held - self.horizon + 1
        if held < 1 or left < 1:
            raise ValueError(
                f"validation_fraction: expected a fraction of the {count} windows of y that holds "
                f"out at least one and leaves more than horizon - 1 = {self.horizon - 1}, got "
                f"{part}"
            )
        return pieces[:, :left], [pieces[:, -held:]]

    def _learn(self) -> Any:
        """Return the loss of a batch of windows in the form that `Trainer` takes."""
        horizon, series, levels = self.horizon, self._series, self._levels
        plain = _LOSSES[checks.choice("loss", self.loss, _LOSSES)]

        def learn(model: Any, batch: Any) -> float:
            values, covariates = batch[0][..., :series], batch[0][..., series:]
            x, last = _inputs(values[:-horizon], covariates)
            y = model(x)
            target = values[-horizon:] - last
            forecasts = y[-horizon:]
            if levels is None:
                loss, gradient = plain(forecasts, target)
            else:
                shape = (*target.shape, len(levels))
                loss, gradient = quantile(forecasts.reshape(shape), target, levels)
            if model.training:
                dy = np.zeros_like(y)
                dy[-horizon:] = gradient.reshape(forecasts.shape)
                model.backward(dy, need_dx=False)
            return float(loss)

        return learn


def _inputs(
    known: NDArray[np.float32], covariates: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the inputs of the network and the last known values.

    Args:
        known: Known values (T, B, K).
        covariates: Covariates (T + steps, B, C).

    Returns:
        Arrays (T + steps, B, K + C + 1) and (B, K).
    """
    steps, batch, series = known.shape
    x = np.zeros((len(covariates), batch, series + covariates.shape[2] + 1), np.float32)
    last = known[-1]
    x[:steps, :, :series] = known - last
    x[..., series:-1] = covariates
    x[steps:, :, -1] = 1
    return x, last


def _levels(quantiles: Sequence[float] | None) -> tuple[float, ...] | None:
    """Return the quantiles, checked."""
    if quantiles is None:
        return None
    if isinstance(quantiles, str) or not isinstance(quantiles, Iterable):
        raise TypeError(f"quantiles: expected a sequence of numbers, got {quantiles!r}")
    levels = tuple(checks.number(f"quantiles[{i}]", q, 0, 1) for i, q in enumerate(quantiles))
    rising = all(a < b for a, b in zip((0.0, *levels), (*levels, 1.0), strict=True))
    if not levels or not rising:
        raise ValueError(f"quantiles: expected increasing numbers between 0 and 1, got {quantiles}")
    return levels
