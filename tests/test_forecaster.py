"""Forecasts: accuracy, covariates, quantiles, pandas labels and refusals."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import estimator_checks

import rnnfast
from rnnfast.sklearn import Forecaster

N = 260
STEPS = np.arange(N)
WAVE = np.sin(STEPS / 4) + STEPS / 40
QUICK: dict[str, Any] = {
    "horizon": 6,
    "window": 12,
    "hidden_size": 8,
    "max_iter": 3,
    "random_state": 0,
}


@pytest.fixture(autouse=True)
def _one_thread(threads: None) -> None:  # noqa: ARG001
    rnnfast.set_num_threads(1)


@pytest.mark.parametrize(
    "check",
    [
        "check_do_not_raise_errors_in_init_or_set_params",
        "check_estimator_cloneable",
        "check_estimator_repr",
        "check_get_params_invariance",
        "check_mixin_order",
        "check_no_attributes_set_in_init",
        "check_parameters_default_constructible",
        "check_set_params",
    ],
)
def test_scikit_learns_checks_of_parameters_pass(check: str) -> None:
    """The checks that call `fit(X, y)` are left out, because series come first here."""
    getattr(estimator_checks, check)("Forecaster", Forecaster())


def test_a_wave_on_a_slope_is_forecast() -> None:
    """The slope leaves the range seen in training; forecasting the last value has an error of 2."""
    model = Forecaster(20, 40, max_iter=60, random_state=0).fit(WAVE[:-20])
    error = np.abs(model.predict() - WAVE[-20:]).max()
    assert error < 0.2
    assert np.abs(WAVE[-21] - WAVE[-20:]).max() > 1.5


def test_covariates_of_the_future_are_used() -> None:
    """Noise can be predicted only from the coming values of a covariate that contains it."""
    told = np.random.default_rng(0).normal(size=(N, 2))
    y = 3 * told[:, 0] - told[:, 1]
    model = Forecaster(6, 12, max_iter=60, random_state=0).fit(y[:-6], told[:-6])
    error = np.sqrt(np.mean((model.predict(X=told[-6:]) - y[-6:]) ** 2))
    assert error < 0.3 * y.std()


def test_quantiles_hold_what_they_say() -> None:
    """For unit noise, the 10 % and 90 % quantiles are -1.28 and 1.28, whatever came before."""
    noise = np.random.default_rng(2).normal(size=1500)
    model = Forecaster(
        2, 4, quantiles=(0.1, 0.5, 0.9), hidden_size=8, max_iter=25, random_state=0
    ).fit(noise[:1000])
    inside = []
    for t in range(1000, 1498):
        q = model.predict()
        assert (np.diff(q, axis=-1) >= 0).all()
        inside.append((q[:, 0] < noise[t : t + 2]) & (noise[t : t + 2] < q[:, 2]))
        model.update(noise[t : t + 1])
    # 80 % should be inside. The 996 trials, in pairs that overlap, have an error of 0.018 (one
    # sigma), and fitting a thousand values with 300 weights costs some coverage.
    assert abs(np.mean(inside) - 0.8) < 0.08


def test_units_do_not_matter() -> None:
    plain = Forecaster(**QUICK).fit(WAVE).predict()
    scaled = Forecaster(**QUICK).fit(WAVE * 8).predict()
    np.testing.assert_array_equal(scaled, plain * 8)


def test_shorter_horizons_are_the_beginning_of_longer_ones() -> None:
    model = Forecaster(**QUICK).fit(WAVE)
    np.testing.assert_array_equal(model.predict(2), model.predict()[:2])


@pytest.mark.parametrize("quantiles", [None, (0.25, 0.75)])
@pytest.mark.parametrize("series", [0, 1, 3])
def test_forecasts_have_the_form_of_the_series(series: int, quantiles: Any) -> None:
    y = WAVE if series == 0 else np.stack([WAVE, -WAVE, 2 * WAVE], 1)[:, :series]
    model = Forecaster(quantiles=quantiles, **QUICK).fit(y)
    assert model.predict(4).shape == (4, *y.shape[1:], *([2] if quantiles else []))


def test_updates_are_as_if_the_window_had_been_the_last() -> None:
    told = np.cos(STEPS)[:, None]
    model = Forecaster(**QUICK).fit(WAVE[:200], told[:200])
    later = pickle.loads(pickle.dumps(model))
    for start, end in ((200, 203), (203, 230)):  # less than the window, and more
        later.update(WAVE[start:end], told[start:end])
    model._keep(WAVE[:230, None], told[:230])
    np.testing.assert_array_equal(later.predict(X=told[230:236]), model.predict(X=told[230:236]))


def test_the_seed_makes_everything_and_clones_start_anew() -> None:
    model = Forecaster(**QUICK).fit(WAVE)
    np.testing.assert_array_equal(clone(model).fit(WAVE).predict(), model.predict())
    other = Forecaster(**QUICK | {"random_state": 1}).fit(WAVE)
    assert (other.predict() != model.predict()).any()
    with pytest.raises(NotFittedError):
        clone(model).predict()


def test_early_stopping_holds_out_the_last_windows() -> None:
    options = QUICK | {"max_iter": 300}
    model = Forecaster(early_stopping=True, n_iter_no_change=2, **options)
    model.fit(np.random.default_rng(0).normal(size=N))
    losses = model.validation_losses_
    assert losses.index(min(losses)) == len(losses) - 3
    assert model.n_iter_ == len(losses) < 300
    assert np.isfinite(model.predict()).all()


def test_targets_that_are_held_out_are_in_no_window_that_is_trained_on() -> None:
    model = Forecaster(**QUICK)
    pieces = np.lib.stride_tricks.sliding_window_view(STEPS, 18)[..., None].transpose(1, 0, 2)
    train, (held_out,) = model._split(pieces)
    assert held_out.shape[1] == np.ceil(0.1 * pieces.shape[1])
    assert held_out.max() == N - 1
    assert train.max() + 1 == held_out[-6:].min()


def test_quantiles_that_cross_are_put_in_order() -> None:
    """Untrained weights give numbers in any order."""
    model = Forecaster(quantiles=(0.1, 0.5, 0.9), learning_rate=0.0, **QUICK).fit(WAVE)
    plain = model.model_(np.zeros((1, 1, 2), np.float32)).ravel()
    assert (np.diff(plain) < 0).any()
    assert (np.diff(model.predict()) >= 0).all()


@pytest.mark.parametrize(
    ("options", "y", "message"),
    [
        ({}, WAVE[:17], r"y: expected at least window \+ horizon = 18 steps, got 17"),
        ({"horizon": 0}, WAVE, "horizon: expected"),
        ({"window": 0}, WAVE, "window: expected"),
        ({"quantiles": (0.5, 0.1)}, WAVE, "quantiles: expected increasing numbers between 0 and 1"),
        ({"quantiles": (0.0, 0.5)}, WAVE, "quantiles: expected increasing numbers between 0 and 1"),
        ({"quantiles": ()}, WAVE, "quantiles: expected increasing numbers between 0 and 1"),
        ({"loss": "cubic"}, WAVE, "loss: expected one of squared_error"),
        ({}, np.where(STEPS == 9, np.nan, WAVE), "Input y contains NaN"),
        ({"early_stopping": True, "validation_fraction": 1.0}, WAVE, "validation_fraction: exp"),
        ({"early_stopping": True, "validation_fraction": 0.0}, WAVE, "validation_fraction: exp"),
    ],
)
def test_what_cannot_be_is_named(options: dict[str, Any], y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Forecaster(**QUICK | options).fit(y)


def test_masked_arrays_and_other_kinds_are_named() -> None:
    masked = np.ma.masked_array(WAVE, WAVE > 1)
    with pytest.raises(TypeError, match=r"^y: expected an array without a mask"):
        Forecaster(**QUICK).fit(masked)
    with pytest.raises(TypeError, match=r"^X: expected an array without a mask"):
        Forecaster(**QUICK).fit(WAVE, masked[:, None])
    for quantiles in (0.5, "half"):
        with pytest.raises(TypeError, match=r"^quantiles: expected a sequence of numbers, got"):
            Forecaster(**QUICK | {"quantiles": quantiles}).fit(WAVE)
    with pytest.raises(TypeError, match=r"^quantiles\[1\]: expected a number, got str"):
        Forecaster(**QUICK | {"quantiles": (0.1, "half")}).fit(WAVE)


def test_horizons_and_covariates_that_do_not_fit_are_named() -> None:
    told = np.ones((N, 2))
    model = Forecaster(**QUICK).fit(WAVE, told)
    with pytest.raises(ValueError, match="horizon: expected"):
        model.predict(7, told[:7])
    with pytest.raises(
        ValueError, match=r"X: expected shape \(6, 2\), like the covariates of fit, got None"
    ):
        model.predict()
    with pytest.raises(ValueError, match="X: expected 3 rows, one per step, got 2"):
        model.predict(3, told[:2])
    with pytest.raises(ValueError, match=r"X: expected shape \(3, 2\).* got shape \(3, 1\)"):
        model.predict(X=told[:3, :1])
    with pytest.raises(ValueError, match=r"X: expected 260 rows, one per step, got 259"):
        model.fit(WAVE, told[1:])
    with pytest.raises(ValueError, match="X: expected None"):
        Forecaster(**QUICK).fit(WAVE).predict(X=told[:3])


INDICES = {
    "days": lambda pd, n: pd.date_range("2024-02-27", periods=n, freq="D"),
    "month ends": lambda pd, n: pd.date_range("2001-01-31", periods=n, freq="ME"),
    "business days": lambda pd, n: pd.bdate_range("2024-02-27", periods=n, name="day"),
    "no freq": lambda pd, n: pd.DatetimeIndex(
        pd.date_range("2024-02-27", periods=n, freq="h").to_numpy()
    ),
    "quarters": lambda pd, n: pd.period_range("2001Q1", periods=n, freq="Q"),
    "minutes": lambda pd, n: pd.timedelta_range("0s", periods=n, freq="90s"),
    "range": lambda pd, n: pd.RangeIndex(5, 5 + 3 * n, 3),
    "integers": lambda pd, n: pd.Index(np.arange(n) * 2 + 1, name="step"),
}


@pytest.mark.parametrize("kind", INDICES)
def test_the_index_goes_on(kind: str) -> None:
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    index = INDICES[kind](pd, N)
    y = pd.Series(WAVE, index, name="load")
    model = Forecaster(**QUICK).fit(y[:-8])
    forecast = model.predict()
    assert forecast.index.equals(index[-8:-2])
    assert forecast.index.name == index.name
    assert forecast.name == "load"
    expected = Forecaster(**QUICK).fit(WAVE[:-8]).predict()
    np.testing.assert_array_equal(forecast.to_numpy(), expected)
    later = model.update(y[-8:-7]).predict(3)
    assert later.index.equals(index[-7:-4])
    with pytest.raises(ValueError, match="y: expected the index that follows"):
        model.update(y[-5:])
    with pytest.raises(
        TypeError, match="y: expected a Series or DataFrame, as in fit, got ndarray"
    ):
        model.update(WAVE[:2])


def test_columns_stay_and_quantiles_are_columns() -> None:
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    days = pd.date_range("2024-01-01", periods=N, freq="D")
    frame = pd.DataFrame({"a": WAVE, "b": -WAVE}, days)
    told = pd.DataFrame({"x": np.cos(STEPS)}, days)
    known, coming = slice(0, -6), slice(-6, None)
    plain = Forecaster(**QUICK).fit(frame[known], told[known]).predict(X=told[coming])
    assert plain.columns.tolist() == ["a", "b"]
    model = Forecaster(quantiles=(0.1, 0.9), **QUICK).fit(frame[known], told[known])
    both = model.predict(X=told[coming])
    assert both.columns.tolist() == [("a", 0.1), ("a", 0.9), ("b", 0.1), ("b", 0.9)]
    assert (both["b"][0.9] >= both["b"][0.1]).all()
    one = Forecaster(quantiles=(0.1, 0.9), **QUICK).fit(frame["a"]).predict()
    assert one.columns.tolist() == [0.1, 0.9]
    with pytest.raises(ValueError, match="X: expected the index of the future steps"):
        model.predict(X=told[:6])
    with pytest.raises(ValueError, match="X: expected the index of y"):
        model.fit(frame[known], told[6:])


def test_an_index_without_steps_is_refused() -> None:
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    dates = pd.date_range("2024-01-01", periods=N, freq="D").delete(7)
    backwards = pd.date_range("2024-01-01", periods=N - 1, freq="D")[::-1]
    steps = pd.Index([f"step {i}" for i in range(N - 1)])
    for index in (dates, backwards, steps, -np.arange(N - 1)):
        with pytest.raises(ValueError, match="y: expected an index of dates, periods"):
            Forecaster(**QUICK).fit(pd.Series(WAVE[1:], index))
