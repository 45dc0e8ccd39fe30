"""Estimators of sequences: scikit-learn's own checks, forms of X, pipelines, searches, files."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import joblib
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import rnnfast
from rnnfast.sklearn import RecurrentClassifier, RecurrentRegressor

X = np.random.default_rng(0).normal(size=(60, 8))
SUMS = X[:, -3:].sum(1)
QUICK: dict[str, Any] = {"hidden_size": 8, "max_iter": 5, "random_state": 0}


@pytest.fixture(autouse=True)
def _one_thread(threads: None) -> None:  # noqa: ARG001
    rnnfast.set_num_threads(1)


# No check is expected to fail. Checks with other array libraries are skipped unless
# SCIPY_ARRAY_API is set.
@parametrize_with_checks(
    [
        RecurrentRegressor(hidden_size=16, learning_rate=0.03, max_iter=40),
        RecurrentClassifier(hidden_size=16, max_iter=20),
    ]
)
def test_scikit_learns_own_checks_pass(estimator: Any, check: Any) -> None:
    check(estimator)


def test_a_regressor_learns_targets_of_unequal_sequences() -> None:
    rng = np.random.default_rng(1)
    sequences = [rng.normal(size=(length, 2)) for length in rng.integers(1, 9, 150)]
    y = np.array([s.sum(0) for s in sequences])
    model = RecurrentRegressor(max_iter=100, random_state=0).fit(sequences[:120], y[:120])
    assert model.score(sequences[120:], y[120:]) > 0.9
    assert model.n_features_in_ == 2
    assert model.loss_curve_[-1] < model.loss_curve_[0] / 20
    one = np.stack([model.predict([s])[0] for s in sequences[120:]])
    np.testing.assert_array_equal(model.predict(sequences[120:]), one)  # padding has no effect


def test_forms_of_x_mean_the_same() -> None:
    """A table, an array and a list of the same steps give the same network, bit for bit."""
    cut = X.reshape(60, 4, 2)
    table = RecurrentRegressor(input_size=2, **QUICK).fit(X, SUMS)
    expected = table.predict(X)
    for same in (cut, list(cut), [s.tolist() for s in cut]):
        model = RecurrentRegressor(**QUICK).fit(same, SUMS)
        np.testing.assert_array_equal(model.predict(same), expected)
        np.testing.assert_array_equal(table.predict(same), expected)
        assert model.n_features_in_ == 2
    assert table.n_features_in_ == 8
    np.testing.assert_array_equal(RecurrentRegressor(input_size=2, **QUICK).fit(
        [*X[:59], X[59, :6]], SUMS).predict(list(X[:3])).shape, (3,))  # fmt: skip


def test_several_layers_and_any_cell() -> None:
    model = RecurrentRegressor("mgu", num_layers=2, **QUICK).fit(X, SUMS)
    assert model.model_[0].cell == "mgu"
    assert model.model_[0].num_layers == 2


def test_scaling_is_inside() -> None:
    """Units of X and y do not matter: scaling by powers of 2 is exact, so the bits are the same."""
    plain = RecurrentRegressor(**QUICK).fit(X, SUMS).predict(X)
    other = RecurrentRegressor(**QUICK).fit(X * 1024, SUMS * 4).predict(X * 1024)
    np.testing.assert_array_equal(other, plain * 4)
    large = RecurrentRegressor(**QUICK).fit(X * 2.0**1000, SUMS * 2.0**1000).predict(X * 2.0**1000)
    np.testing.assert_array_equal(large, plain * 2.0**1000)  # whose squares would be infinite


def test_the_seed_makes_everything() -> None:
    first, again, other = (
        RecurrentClassifier(**QUICK | {"random_state": seed}).fit(X, SUMS > 0).predict_proba(X)
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_early_stopping_keeps_the_best_weights() -> None:
    noise = np.random.default_rng(1).normal(
        size=60
    )  # there is nothing to learn, so the held-out loss soon rises
    model = RecurrentRegressor(
        early_stopping=True, n_iter_no_change=3, max_iter=200, random_state=0
    )
    model.fit(X, noise)
    losses = model.validation_losses_
    assert model.n_iter_ == len(losses) == len(model.loss_curve_) < 200
    assert losses.index(min(losses)) == len(losses) - 4
    twin = RecurrentRegressor(
        early_stopping=True, n_iter_no_change=3, max_iter=len(losses) - 3, random_state=0
    ).fit(X, noise)
    np.testing.assert_array_equal(twin.predict(X), model.predict(X))


@pytest.mark.parametrize("kind", [RecurrentRegressor, RecurrentClassifier])
def test_pipelines_clones_and_files(kind: Any) -> None:
    y = SUMS if kind is RecurrentRegressor else np.where(SUMS > 0, "up", "down")
    pipeline = make_pipeline(StandardScaler(), kind(**QUICK)).fit(X, y)
    expected = pipeline.predict(X)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(pipeline)).predict(X), expected)
    np.testing.assert_array_equal(clone(pipeline).fit(X, y).predict(X), expected)


@pytest.mark.slow  # starts processes
def test_a_grid_search_in_two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RNNFAST_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    grid = {"max_iter": [5, 40]}
    alone, parallel = (
        GridSearchCV(RecurrentRegressor(random_state=0), grid, cv=2, n_jobs=jobs).fit(X, SUMS)
        for jobs in (1, 2)
    )
    assert parallel.best_params_["max_iter"] == 40
    key = "mean_test_score"
    np.testing.assert_array_equal(parallel.cv_results_[key], alone.cv_results_[key])
    # The processes are still running and share the CPUs.
    threads = joblib.Parallel(n_jobs=2)(joblib.delayed(rnnfast.get_num_threads)() for _ in "ab")
    assert set(threads) == {max(1, joblib.cpu_count() // 2)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_size": 3}, "X: expected a multiple of input_size = 3 features"),
        ({"input_size": 0}, "input_size: expected"),
        ({"loss": "cubic"}, "loss: expected one of squared_error, absolute_error, huber"),
        ({"cell": "no_cell"}, "no_cell"),
        ({"max_iter": 0}, "max_iter: expected"),
        ({"learning_rate": -1.0}, "learning_rate: expected"),
        ({"n_iter_no_change": 0}, "n_iter_no_change: expected"),
        ({"early_stopping": True, "validation_fraction": 0}, "validation_fraction: expected"),
        ({"early_stopping": True, "validation_fraction": 1}, "validation_fraction: expected"),
        ({"early_stopping": True, "validation_fraction": 2}, "validation_fraction: expected"),
    ],
)
def test_parameters_out_of_range_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RecurrentRegressor(**QUICK | options).fit(X, SUMS)


def test_sequences_that_do_not_fit_are_named() -> None:
    model = RecurrentRegressor(**QUICK)
    with pytest.raises(
        ValueError, match=r"X\[1\]: expected 2 features per step, as in X\[0\], got 3"
    ):
        model.fit([np.ones((4, 2)), np.ones((5, 3))], [1, 2])
    with pytest.raises(ValueError, match=r"Input X\[1\] contains NaN"):
        model.fit([np.ones(4), np.full(5, np.nan)], [1, 2])
    model.fit(X[:, :, None], SUMS)
    with pytest.raises(ValueError, match="X: expected 1 features per step, as in fit, got 2"):
        model.predict(np.ones((2, 5, 2)))
    for shape in ((60, 4, 2, 1), (60, 0, 1), (60, 4, 0)):
        with pytest.raises(ValueError, match=r"X: expected shape \(n, steps, features\) with at"):
            model.fit(np.ones(shape), SUMS)
    with pytest.raises(ValueError, match="y: expected at least two classes, got 1 class"):
        RecurrentClassifier(**QUICK).fit(X, np.ones(60))


def test_masked_arrays_are_refused() -> None:
    table, sums = np.ma.masked_array(X, X > 1), np.ma.masked_array(SUMS, SUMS > 1)
    model = RecurrentRegressor(**QUICK)
    for masked in (table, table[:, :, None]):
        with pytest.raises(TypeError, match=r"^X: expected an array without a mask"):
            model.fit(masked, SUMS)
    for rows in (list(table), [row[: 4 + i % 2] for i, row in enumerate(table)]):
        with pytest.raises(TypeError, match=r"^X\[0\]: expected an array without a mask"):
            model.fit(rows, SUMS)
    with pytest.raises(TypeError, match=r"^y: expected an array without a mask"):
        model.fit(X, sums)
    with pytest.raises(TypeError, match=r"^y: expected an array without a mask"):
        RecurrentClassifier(**QUICK).fit(X, np.ma.masked_array(SUMS > 0, SUMS > 1))


def test_an_interrupt_ends_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trainer ends cleanly at Ctrl-C, but a search must see the interrupt or it would go on."""
    import signal

    from rnnfast.training.trainer import Trainer

    step = Trainer._train_step

    def interrupted(self: Trainer) -> bool:
        signal.raise_signal(signal.SIGINT)
        return step(self)

    monkeypatch.setattr(Trainer, "_train_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        RecurrentRegressor(**QUICK).fit(X, SUMS)
