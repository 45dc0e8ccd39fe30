"""Forecasts of series over several steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array, check_is_fitted

from rnnfast._engine import checks
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

    One recurrent network reads a window of the series, then goes on over the steps to come, and a
    linear layer makes a forecast of each of its outputs there. All steps are forecast in one pass
    (the direct strategy): no forecast is fed back as if it were known. What the network reads of a
    step are the values of the series, zeros in the steps to come; the covariates of the step; and
    whether it is one to come. Values are in deviations of the series, from the last known value, so
    that a forecast starts from where the series is, whatever its level.

    Args:
        horizon: Steps to forecast, at most.
        window: Steps that a forecast is made from.
        cell: The recurrent cell, one of `rnnfast.cells.ZOO`.
        hidden_size: Its units.
        num_layers: How many recurrent layers stand on each other.
        quantiles: Which quantiles to forecast, between 0 and 1 and rising; None for one forecast.
        loss: "squared_error", "absolute_error" or "huber" of one forecast. Quantiles have the
            pinball loss, whatever stands here.
        max_iter: Passes over the windows.
        batch_size: Windows of a step of the optimiser, Adam.
        learning_rate: Its learning rate.
        early_stopping: Whether to hold out the last windows, end after `n_iter_no_change` passes
            without a new best loss on them, and keep the weights of the best.
        validation_fraction: Which part of the windows is held out for that.
        n_iter_no_change: See `early_stopping`.
        random_state: Seeds weights and the order of the data: an integer for the same results every
            time.

    Attributes:
        model_: The network, a `rnnfast.Sequential` in evaluation mode.
        loss_curve_: Mean training loss of each pass.
        validation_losses_: Losses of what was held out, after each pass; None without.
        n_iter_: Passes made.
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
            y: The series, (N,), or several, (N, K): arrays, or a `Series` or `DataFrame` of pandas,
                whose index must have equal steps. N is at least window + horizon.
            X: Covariates, (N, C): what is known of each step, also of those to come. None for none.

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
        """Take what followed the known series, which the next forecasts go on from.

        The network stays as it is.

        Args:
            y: The further steps, of the kind that `fit` took.
            X: Their covariates, if `fit` had some.

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
            horizon: How many, at most those of the parameter; None for the rows of X, or without X
                for all.
            X: Their covariates, (horizon, C), if `fit` had some.

        Returns:
            Forecasts in float64, in the form that y had in `fit`: (horizon,) of one series,
            (horizon, K) of several, with one more axis of the quantiles, if there are some, which
            rise along it. Of pandas a `Series` or `DataFrame` whose index goes on from that of y,
            with columns of quantiles.

        Raises:
            ValueError: The horizon is too far, or X does not fit.
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
            check_index("X", X, following(self._labels.index, steps), "of the steps to come")
        known = self._scaling.apply(self._values)[:, None]
        told = np.concatenate([self._known_covariates, covariates])
        x, last = _inputs(known, self._covariate_scaling.apply(told)[:, None])
        outputs = self.model_(x)[-steps:, 0].reshape(steps, self._series, -1)
        deviations = (outputs + last[0, :, None]).astype(np.float64)
        forecasts = deviations * self._scaling.deviation[:, None] + self._scaling.mean[:, None]
        if self._levels is None:
            forecasts = forecasts[..., 0]
        else:
            forecasts.sort(axis=-1)  # quantiles that cross are put in order
        if self._labels is not None:
            return labelled(forecasts, self._labels, self._levels)
        return forecasts[:, 0] if self._one_series else forecasts

    # ---- what goes in

    def _read(self, y: Any, X: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the values (N, K) and the covariates (N, C)."""
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
        covariates: NDArray[np.float64] = check_array(X, dtype=np.float64, input_name="X")
        if len(covariates) != steps:
            raise ValueError(f"X: expected {steps} rows, one a step, got {len(covariates)}")
        return covariates

    def _check_covariates(self, X: Any, covariates: NDArray[np.float64], steps: int) -> None:
        if covariates.shape[1] != self._covariates:
            expected = f"shape ({steps}, {self._covariates})" if self._covariates else "None"
            got = "None" if X is None else f"shape {covariates.shape}"
            raise ValueError(f"X: expected {expected}, as fit had such covariates, got {got}")

    def _keep(self, values: NDArray[np.float64], covariates: NDArray[np.float64]) -> None:
        """Keep what forecasts are made from."""
        self._values = values[-self.window :].copy()
        self._known_covariates = covariates[-self.window :].copy()

    # ---- training

    def _split(
        self, pieces: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """Hold out the last windows, whose targets are in none of those that are left."""
        part = checks.finite("validation_fraction", self.validation_fraction, 0)
        count = pieces.shape[1]
        held = int(np.ceil(part * count))
        left = count - held - self.horizon + 1
        if held < 1 or left < 1:
            raise ValueError(
                f"validation_fraction: expected a part of the {count} windows of y that holds out "
                f"some and leaves more than horizon - 1 = {self.horizon - 1}, got {part}"
            )
        return pieces[:, :left], [pieces[:, -held:]]

    def _learn(self) -> Any:
        """Return the loss of a batch of windows, as of `Trainer`."""
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
    """Return what the network reads, and the last known values.

    Args:
        known: (T, B, K) values.
        covariates: (T + steps, B, C).

    Returns:
        (T + steps, B, K + C + 1) and (B, K).
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
    levels = tuple(float(q) for q in quantiles)
    rising = all(a < b for a, b in zip((0.0, *levels), (*levels, 1.0), strict=True))
    if not levels or not rising:
        raise ValueError(f"quantiles: expected rising numbers between 0 and 1, got {quantiles}")
    return levels
