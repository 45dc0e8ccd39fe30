"""Scores of units equal those of scikit-learn and SciPy; p-values and probes mean what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from scipy.stats import mannwhitneyu, rankdata, spearmanr
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score, roc_auc_score, roc_curve

from rnnfast.inspection.probe import with_probes
from rnnfast.inspection.result import Concept
from rnnfast.inspection.scores import auc, r2, rank, score
from tolerances import SCORES

N, HELD_OUT, UNITS = 900, 500, 40
CONSTANT, NEVER_SEEN = (
    7,
    8,
)  # units: one that never changes, one that changes on held-out text alone


def smooth(rng: np.random.Generator, *shape: int) -> Any:
    """Return noise whose neighbours along the first axis are alike."""
    noise = rng.normal(size=shape)
    for n in range(1, shape[0]):
        noise[n] = 0.98 * noise[n - 1] + 0.2 * noise[n]
    return noise


@pytest.fixture(scope="module")
def activations() -> Any:
    values = np.tanh(smooth(np.random.default_rng(0), N, UNITS)).astype(np.float32)
    values[:, 5] = np.round(values[:, 5], 1)  # many equal values
    values[:, CONSTANT] = 0.1
    values[:HELD_OUT, NEVER_SEEN] = -0.2
    return values


@pytest.fixture(scope="module")
def annotations(activations: Any) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    return {
        "yes": activations[:, 3] + 0.3 * rng.normal(size=N) > 0.2,
        "no": activations[:, 4] + 0.3 * rng.normal(size=N) < -0.3,
        "count": np.round(10 * activations[:, 6] + rng.normal(size=N)).astype(np.int64),
        "real": -activations[:, 2] + smooth(rng, N),
    }


@pytest.fixture(scope="module")
def concepts(activations: Any, annotations: dict[str, Any]) -> dict[str, Concept]:
    return with_probes(activations, score(activations, annotations, HELD_OUT), HELD_OUT)


def test_yes_no_is_scored_by_the_area_under_the_curve(
    activations: Any, annotations: dict[str, Any], concepts: dict[str, Concept]
) -> None:
    for name in ("yes", "no"):
        concept, labels = concepts[name], annotations[name]
        assert concept.kind == "yes/no"
        for unit in range(UNITS):
            train, held = activations[:HELD_OUT, unit], activations[HELD_OUT:, unit]
            sign = 1 if roc_auc_score(labels[:HELD_OUT], train) >= 0.5 else -1
            assert concept.sign[unit] == sign
            expected = roc_auc_score(labels[HELD_OUT:], sign * held)
            assert concept.score[unit] == pytest.approx(expected, abs=SCORES)
        assert np.isnan(concept.spearman).all()
    assert (concepts["yes"].ranking[0], concepts["no"].ranking[0]) == (3, 4)
    assert (concepts["yes"].sign[3], concepts["no"].sign[4]) == (1, -1)
    assert concepts["yes"].score[CONSTANT] == 0.5


def test_counts_are_scored_by_a_linear_function_and_by_ranks(
    activations: Any, annotations: dict[str, Any], concepts: dict[str, Concept]
) -> None:
    for name in ("count", "real"):
        concept, counts = concepts[name], annotations[name]
        assert concept.kind == "count"
        for unit in range(UNITS):
            x = activations[:, [unit]].astype(float)
            line = LinearRegression().fit(x[:HELD_OUT], counts[:HELD_OUT])
            expected = line.score(x[HELD_OUT:], counts[HELD_OUT:])
            assert concept.score[unit] == pytest.approx(expected, abs=SCORES)
            if unit in (CONSTANT, NEVER_SEEN):
                continue
            assert concept.sign[unit] == np.sign(line.coef_[0])
            ranked = spearmanr(x[HELD_OUT:, 0], counts[HELD_OUT:]).statistic
            assert concept.spearman[unit] == pytest.approx(ranked, abs=SCORES)
        assert concept.spearman[CONSTANT] == 0
        assert np.isnan(concept.threshold).all()
    assert concepts["count"].ranking[0] == 6


def test_thresholds_divide_best_where_they_are_chosen(
    activations: Any, annotations: dict[str, Any], concepts: dict[str, Concept]
) -> None:
    for name in ("yes", "no"):
        concept, labels = concepts[name], annotations[name][:HELD_OUT]
        for unit in set(range(UNITS)) - {CONSTANT, NEVER_SEEN}:
            values = concept.sign[unit] * activations[:HELD_OUT, unit].astype(float)
            false, true, _ = roc_curve(labels, values)
            says_yes = values > concept.sign[unit] * concept.threshold[unit]
            chosen = says_yes[labels].mean() - says_yes[~labels].mean()
            assert chosen == pytest.approx((true - false).max(), abs=SCORES)
        assert np.isnan(concept.threshold[[CONSTANT, NEVER_SEEN]]).all()


@given(arrays(np.float32, st.integers(2, 30), elements=st.sampled_from([0.0, -0.0, 0.5, 1, 2])))
def test_ranks_are_those_of_scipy(values: Any) -> None:
    ranked = rank(values)
    np.testing.assert_array_equal(ranked.ranks, rankdata(values) - 1)
    np.testing.assert_array_equal(ranked.sorted, np.sort(values))


@given(st.integers(0, 2**32 - 1))
def test_areas_are_those_of_counted_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, labels = rng.integers(0, 5, 20).astype(float), rng.permutation(np.arange(20) < 7)
    yes, no = values[labels], values[~labels]
    pairs = np.sign(yes[:, None] - no).mean() / 2 + 0.5
    assert auc(rank(values).ranks, labels.astype(float)) == pytest.approx(pairs, abs=SCORES)


def test_r2_is_that_of_scikit_learn() -> None:
    predicted, values = np.random.default_rng(0).normal(size=(2, 50))
    assert r2(predicted, values) == pytest.approx(r2_score(values, predicted), abs=SCORES)


def test_p_values_of_slow_units_are_not_those_of_independent_characters() -> None:
    """Slow noise knows nothing of a slow concept, yet a test of independent values says it does."""
    ours, naive = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        units = smooth(rng, 1200, 8).astype(np.float32)
        labels = smooth(rng, 1200, 1)[:, 0] > 0
        ours.append(score(units, {"slow": labels}, 400)["slow"].p_value.min())
        held, yes = units[400:], labels[400:]
        naive.append(min(8 * mannwhitneyu(u[yes], u[~yes]).pvalue for u in held.T))
    assert np.mean(np.array(naive) < 0.01) > 0.8
    assert np.mean(np.array(ours) <= 0.05) <= 0.15  # 0.05 is expected; 40 draws, 3 sigma


def test_a_unit_that_tells_has_the_smallest_p_value(concepts: dict[str, Concept]) -> None:
    for name, unit in (("yes", 3), ("no", 4), ("count", 6)):
        assert concepts[name].p_value[unit] == 1 / 200
    assert concepts["yes"].p_value[CONSTANT] > 0.5
    for concept in concepts.values():
        assert ((concept.p_value > 0) & (concept.p_value <= 1)).all()


def test_probes_find_the_units_that_tell_a_concept_together() -> None:
    rng = np.random.default_rng(0)
    units = rng.normal(size=(4000, 30)).astype(np.float32)
    units[:, 9] = 1
    sums = units[:, 4] - 2 * units[:, 11] + units[:, 20]
    annotations = {"sum": sums.astype(float), "above": sums > 1, "nothing": rng.random(4000) > 0.5}
    found = with_probes(units, score(units, annotations, 2000), 2000)
    for name in ("sum", "above"):
        probe = found[name].probe
        assert probe is not None
        assert set(probe.units[2]) == {4, 11, 20}
        assert probe.units[0] == (11,)
        assert len(probe.units[probe.needed]) == 3
        assert probe.scores[2] > 0.99
        assert all(9 not in some for some in probe.units)
    alone = LinearRegression().fit(units[:2000, [11]], annotations["sum"][:2000])
    expected = alone.score(units[2000:, [11]], annotations["sum"][2000:])
    assert found["sum"].probe.scores[0] == pytest.approx(expected, abs=1e-3)  # values are clipped
    assert max(found["nothing"].probe.scores) < 0.55


def test_a_probe_does_not_extrapolate() -> None:
    rng = np.random.default_rng(0)
    units = rng.normal(size=(2000, 3)).astype(np.float32)
    counts = {"count": units[:, 0] + 0.1 * rng.normal(size=2000)}
    units[1500:1510, 0] = 1e6
    probe = with_probes(units, score(units, counts, 1000), 1000)["count"].probe
    assert probe is not None
    assert probe.scores[0] > 0.8
