"""Each row of the table of conventions against the library itself, with random weights.

A wrong order of gates, offset or sense of z must be noticed: the tests also plant them.
"""

from __future__ import annotations

import base64
import itertools
import json
import zlib
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import exchange_cases
from exchange_cases import CASES, Case, jax_in_32_bits  # noqa: F401  # a fixture
from golden_makers import common
from rnnfast.exchange import CONVENTIONS, Convention, found, found_in, read_layer
from rnnfast.exchange.conversion import OUR_GATES

TOLERANCE = 1e-5
pytestmark = [
    pytest.mark.usefixtures("jax_in_32_bits"),
    pytest.mark.filterwarnings(
        "ignore:__array__ implementation:DeprecationWarning"  # of Keras
    ),
]


@lru_cache
def made(name: str) -> Case:
    return CASES[name]()


def difference(case: Case, source: str = "auto") -> float:
    layer = read_layer(case.weights, source, **case.facts)
    y, _ = layer(case.x)
    return float(np.abs(y - case.y).max()) / max(1.0, float(np.abs(case.y).max()))


@pytest.mark.parametrize("name", CASES)
def test_outputs_are_those_of_the_library(name: str) -> None:
    case = made(name)
    assert difference(case) < TOLERANCE
    assert difference(case, case.source) < TOLERANCE


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_ncnn(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = exchange_cases.ncnn_case(kind, tmp_path)
    assert difference(case, "ncnn") < TOLERANCE
    layer = read_layer(tmp_path / "m.param")
    np.testing.assert_allclose(layer(case.x)[0], case.y, rtol=0, atol=TOLERANCE)
    assert_mutants_are_noticed(case, monkeypatch)


@pytest.mark.parametrize("direction", [1, 2])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_directions_of_ncnn(kind: str, direction: int, tmp_path: Path) -> None:
    case = exchange_cases.ncnn_case(kind, tmp_path, direction)
    facts: dict[str, Any] = {"reversed_input": True} if direction == 1 else {}
    layer = read_layer(tmp_path / "m.param", **facts)
    assert layer.bidirectional == (direction == 2)
    y = layer(case.x[::-1])[0][::-1] if direction == 1 else layer(case.x)[0]
    np.testing.assert_allclose(y, case.y, rtol=0, atol=TOLERANCE)


def renamed(row: Convention, names: dict[int, str]) -> Convention:
    """Return a row with other gates in the places of its own, apart from matrices from c."""
    arrays = tuple(
        a if a.parts == "m" else a._replace(gates=a.gates.translate(names)) for a in row.arrays
    )
    return replace(row, gates=row.gates.translate(names), arrays=arrays)


def mutants(row: Convention, facts: dict[str, Any]) -> list[tuple[Convention, dict[str, Any]]]:
    """Return the row with each other order of gates, another offset and the other sense of z."""
    gates = OUR_GATES[row.cell]
    orders = ["".join(order) for order in itertools.permutations(gates)][1:]
    if "p" in row.parts:  # the candidate has no peephole
        orders = [order for order in orders if order[2] == "g"]
    result = [(renamed(row, str.maketrans(gates, order)), facts) for order in orders]
    if "m" in row.parts:
        swapped = {"i": "o", "o": "i"}
        arrays = [a._replace(gates=swapped[a.gates]) if a.parts == "m" else a for a in row.arrays]
        result.append((replace(row, arrays=tuple(arrays)), facts))
    if "f" in gates:
        offset = facts.get("forget_offset", row.forget_offset) + 1.0
        stated = facts | {"forget_offset": offset} if row.forget_offset is None else facts
        result.append((replace(row, forget_offset=offset), stated))
    if "z" in gates:
        z = "keeps" if facts.get("update_gate", row.z) == "replaces" else "replaces"
        stated = facts | {"update_gate": z} if row.z is None else facts
        result.append((replace(row, z=z), stated))
    return result


def assert_mutants_are_noticed(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = (r for r in CONVENTIONS if (r.source, r.layers) == (case.source, case.layers))
    monkeypatch.setattr(found, "CONVENTIONS", (row,))
    read_layer(case.weights, case.source, verify=(case.x, case.y), **case.facts)
    planted = mutants(row, case.facts)
    assert len(planted) >= (0 if row.gates == "n" else 6)
    for mutant, facts in planted:
        monkeypatch.setattr(found, "CONVENTIONS", (mutant,))
        with pytest.raises(ValueError, match=r"verify: expected the layer's y, got one that diff"):
            read_layer(case.weights, case.source, verify=(case.x, case.y), **facts)


@pytest.mark.parametrize(
    "name",
    [n for n in CASES if not any(word in n for word in ("RNN", "Simple", "bias", "layers"))],
)
def test_a_wrong_row_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_mutants_are_noticed(made(name), monkeypatch)


GOLDEN = [
    (path.stem, k, one)
    for path in sorted(Path(__file__).with_name("exchange_golden").glob("*.json"))
    for k, one in enumerate(json.loads(path.read_text()))
    if "layers" in one  # and not products alone
]


@pytest.mark.parametrize("one", [pytest.param(one, id=f"{n}-{k}") for n, k, one in GOLDEN])
def test_outputs_of_large_libraries(
    one: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cases that `exchange_golden.py` made with the libraries, which are too large for CI."""
    weights: Any = {name: np.array(a, np.float32) for name, a in one["weights"].items()}
    if "file" in one:
        weights = tmp_path / "model"
        weights.write_text(one["file"])
    if "packed" in one:
        weights = tmp_path / f"model{'.mlmodel' if one['source'] == 'coreml' else '.h5'}"
        weights.write_bytes(zlib.decompress(base64.b64decode(one["packed"])))
        (network,) = found_in(weights)
        assert network.facts | one["facts"] == network.facts or "coreml" in one["source"]
    y = np.array(one["y"])
    x = common.numbers(len(y), y.shape[1], common.I, seed=0)
    case = Case(one["source"], one["layers"], weights, x, y, one["facts"])
    assert difference(case, case.source) < TOLERANCE
    assert_mutants_are_noticed(case, monkeypatch)
