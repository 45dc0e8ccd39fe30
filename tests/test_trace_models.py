"""`rnnfast.trace` of models: their recurrent layers are traced on the inputs that they get."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import rnnfast
from rnnfast.training import CharLM, CharLMConfig, Vocabulary

CONFIG = CharLMConfig(cell="lstm", hidden_size=7, num_layers=2, dropout=0.5)


def reals(*shape: int) -> NDArray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def assert_same(got: Any, expected: dict[str, Any]) -> None:
    """Check the values of a trace, by the name of the layer."""
    assert sorted(got) == sorted(expected)
    for layer, values in expected.items():
        assert list(got[layer]) == list(values)
        for name, value in values.items():
            np.testing.assert_allclose(got[layer][name], value, rtol=1e-5, atol=1e-6)


def prefixed(prefix: str, traced: Any) -> dict[str, Any]:
    return {f"{prefix}{layer}": values for layer, values in traced.items()}


def test_sequential_with_lengths() -> None:
    model = rnnfast.Sequential(
        rnnfast.Linear(3, 6),
        rnnfast.Dropout(0.5),
        rnnfast.LSTM(6, 5, bidirectional=True),
        rnnfast.Residual(rnnfast.GRU(10, 10, 2)),
        rnnfast.MeanPool(),
    )
    x, lengths = reals(6, 4, 3), [6, 1, 0, 3]
    got = rnnfast.trace(model, x, lengths=lengths)
    assert model.training
    linear, lstm, gru = model[0], model[2], model[3].layer
    inside = linear(x)
    y = rnnfast.Sequential(lstm).eval()(inside, lengths=lengths)
    expected = prefixed("2.", rnnfast.trace(lstm, inside, lengths=lengths))
    expected |= prefixed("3.layer.", rnnfast.trace(gru, y, lengths=lengths))
    assert_same(got, expected)
    some = rnnfast.trace(model, x, lengths=lengths, values=("c", "z", "h"))
    assert [list(values) for values in some.values()] == [["c", "h"]] * 2 + [["z", "h"]] * 2


@pytest.mark.parametrize("embedding_size", [0, 4])
def test_a_language_model(embedding_size: int, tmp_path: Any) -> None:
    config = CharLMConfig(**{**vars_of(CONFIG), "embedding_size": embedding_size})
    model = CharLM(Vocabulary("abcd"), config, seed=0)
    ids = np.random.default_rng(0).integers(0, 4, (9, 2))
    state = tuple(reals(2, 2, 7) for _ in range(2))
    got = rnnfast.trace(model, ids, state)
    x = ids if model.embedding is None else model.embedding(ids)
    assert_same(got, prefixed("recurrent.", rnnfast.trace(model.recurrent, x, state)))
    with model.evaluating():
        _, (h, c) = model(ids, state)
    np.testing.assert_allclose(got["recurrent.l1"]["h"][-1], h[1], atol=1e-6)
    np.testing.assert_allclose(got["recurrent.l1"]["c"][-1], c[1], atol=1e-6)
    on_disk = rnnfast.trace(model, ids.astype(np.uint8), state, to=tmp_path)
    assert_same(on_disk, {name: dict(values) for name, values in got.items()})
    assert (tmp_path / "recurrent.l1.c.npy").exists()


def vars_of(config: CharLMConfig) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(config)


class Twice(rnnfast.Module):
    """A model that calls a layer twice, with the state in between, and one layer never."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = {"enc": rnnfast.GRU(3, 4, batch_first=True, zoneout=0.2)}
        self.unused = rnnfast.LSTM(3, 4)

    def __call__(self, x: Any, state: Any = None) -> Any:
        half = x.shape[1] // 2
        y, state = self.layers["enc"](x[:, :half], state)
        again, state = self.layers["enc"](x[:, half:], state)
        return np.concatenate([y, again], 1), state


def test_a_model_that_calls_a_layer_twice() -> None:
    model = Twice()
    model.layers["enc"].eval()  # a mode of its own
    x, state = reals(3, 8, 3), reals(1, 3, 4)
    got = rnnfast.trace(model, x, state)
    assert model.training
    assert not model.layers["enc"].training
    assert "_run" not in vars(model.layers["enc"])
    layer = model.layers["enc"]
    whole = rnnfast.trace(layer, x, state)["l0"]
    expected = {
        "layers.enc.l0": {name: value[:4] for name, value in whole.items()},
        "layers.enc.call2.l0": {name: value[4:] for name, value in whole.items()},
    }
    assert_same(got, expected)


def test_a_failing_model_is_left_as_it_was() -> None:
    model = Twice()
    with pytest.raises(ValueError, match="input_size = 3"):
        rnnfast.trace(model, reals(3, 8, 2))
    assert model.training
    assert "_run" not in vars(model.layers["enc"])
    model(reals(3, 8, 3))


def test_a_trace_does_not_change_training() -> None:
    def trained(looks: bool) -> dict[str, NDArray]:
        model = rnnfast.Sequential(rnnfast.LSTM(3, 5, 2, dropout=0.5, seed=1), rnnfast.Last())
        optimizer = rnnfast.Adam(model.parameters())
        for _ in range(3):
            if looks:
                rnnfast.trace(model, reals(6, 2, 3))
            model.backward(np.ones_like(model(reals(6, 2, 3))))
            optimizer.step()
        return model.state_dict()

    plain, looked = trained(False), trained(True)
    for name, value in plain.items():
        np.testing.assert_array_equal(looked[name], value)


def test_a_pending_call_of_a_layer_waits_on() -> None:
    layer = rnnfast.GRU(3, 4)
    y, _ = layer(reals(5, 2, 3))
    rnnfast.trace(layer, reals(5, 2, 3))
    layer.backward(np.ones_like(y))
    copy.deepcopy(layer)
