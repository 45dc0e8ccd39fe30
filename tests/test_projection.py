"""LSTM layers that project h, `proj_size`, and the errors of cells that cannot.

`test_sequence.py`, `test_bfloat16.py`, `test_determinism.py` and `test_recompute.py` compare their
results with the reference and with themselves.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import cases
import noise_cases as noise
import rnnfast
from cases import Case
from rnnfast import functional
from rnnfast._engine.known import COMPILED
from rnnfast.functional import Weights

CASE = Case("lstm", T=6, B=4, I=5, H=33, L=2, dtype="float64", P=17)
CELLS = [name for name in COMPILED if functional.cells()[name].projects]


def weights_of(case: Case) -> list[Weights]:
    return [Weights(*w) for w in cases.make_data(case).weights]


def test_the_lstms_project() -> None:
    assert CELLS == ["lstm", "peephole_lstm"]


def test_parameters_have_the_names_and_order_of_pytorch() -> None:
    layer = rnnfast.LSTM(5, 8, 2, bidirectional=True, proj_size=3)
    shapes = {p.name: p.value.shape for p in layer.parameters()}
    kinds = {"weight_ih": 5, "weight_hh": 3}
    expected = {}
    for suffix in ("_l0", "_l0_reverse", "_l1", "_l1_reverse"):
        expected |= {kind + suffix: (32, width) for kind, width in kinds.items()}
        expected |= {f"bias_ih{suffix}": (32,), f"bias_hh{suffix}": (32,)}
        expected[f"weight_hr{suffix}"] = (3, 8)
        kinds["weight_ih"] = 5 if suffix == "_l0" else 2 * 3
    assert list(shapes.items()) == list(expected.items())
    assert np.abs(layer.weight_hr_l1.value).max() <= 8**-0.5
    assert repr(layer) == "LSTM(5, 8, num_layers=2, bidirectional=True, proj_size=3)"
    assert "proj_size" not in repr(rnnfast.LSTM(5, 8))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("batch", [1, 2, 9])
def test_streams_and_evaluation_give_the_bits_of_training(cell: str, batch: int) -> None:
    case = Case(cell, T=5, B=batch, I=4, H=33, L=2, P=17)
    d, layer = cases.make_data(case), cases.make_layer(case)
    y, state = layer(d.x, d.state)
    stream = layer.stream(batch, d.state)
    layer.eval()
    evaluated, final = layer(d.x, d.state)
    steps = np.stack([stream(x) for x in d.x])
    for other in (evaluated, steps):
        np.testing.assert_array_equal(other, y)
    for one, other, shape in zip(stream.state, state, case.state_shapes, strict=True):
        assert one.shape == shape
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(final[1], state[1])


def test_streams_in_bfloat16_give_the_bits_of_a_call() -> None:
    case = Case("lstm", T=5, B=3, I=4, H=33, L=2, P=17, precision="bfloat16")
    layer = cases.make_layer(case)
    d = cases.make_data(case)
    stream = layer.stream(case.B, d.state)
    y, _ = layer(d.x, d.state)
    np.testing.assert_array_equal(np.stack([stream(x) for x in d.x]), y)


def test_gradients_are_those_of_the_function_that_the_layer_computes() -> None:
    """Compare with central differences of the engine itself, along one direction for each array."""
    layer = cases.make_layer(CASE)
    d = cases.make_data(CASE)
    rng = np.random.default_rng(0)

    def loss() -> float:
        y, state = layer(d.x, d.state)
        return float(
            (y * d.dy).sum() + sum((s * g).sum() for s, g in zip(state, d.dstate, strict=True))
        )

    loss()
    layer.backward(d.dy, d.dstate)
    for parameter in layer.parameters():
        direction = rng.standard_normal(parameter.value.shape)
        expected = float((parameter.grad * direction).sum())
        values = parameter.value.copy()
        ends = []
        for side in (1, -1):
            parameter.value = values + side * 1e-5 * direction
            layer.eval().train()  # no call is waiting
            ends.append(loss())
        parameter.value = values
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_learned_states_have_the_widths_of_the_states() -> None:
    layer = rnnfast.LSTM(5, 8, 2, proj_size=3, learn_state=True)
    assert layer.initial_state_0.shape == (2, 3)
    assert layer.initial_state_1.shape == (2, 8)
    x = np.zeros((4, 6, 5), np.float32)
    y, _ = layer(x)
    assert y.shape == (4, 6, 3)
    _, (dh, dc) = layer.backward(np.ones_like(y))
    np.testing.assert_allclose(layer.initial_state_0.grad, dh.sum(axis=1), rtol=1e-6)
    np.testing.assert_allclose(layer.initial_state_1.grad, dc.sum(axis=1), rtol=1e-6)
    assert np.abs(dh).max() > 0


def test_gradients_are_added_to_those_that_are_there() -> None:
    d, weights = cases.make_data(CASE), weights_of(CASE)
    *_, reserve = functional.forward("lstm", d.x, weights, training=True, num_layers=2)
    _, _, new = functional.backward(reserve, d.dy)
    given = [Weights(*(None if w is None else np.ones_like(w) for w in layer)) for layer in weights]
    functional.backward(reserve, d.dy, dweights=given)
    for got, expected in zip(given, new, strict=True):
        assert got.weight_hr is not None
        assert expected.weight_hr is not None
        np.testing.assert_array_equal(got.weight_hr, 1 + expected.weight_hr)


def test_a_changed_weight_hr_is_noticed_before_backward() -> None:
    layer = rnnfast.LSTM(3, 4, proj_size=2)
    y, _ = layer(np.zeros((5, 3, 3), np.float32))
    layer.weight_hr_l0.value *= 2
    with pytest.raises(RuntimeError, match="weights: expected the values of the forward pass"):
        layer.backward(np.ones_like(y))


def test_what_packed_weights_are_of_is_known() -> None:
    packed = functional.pack("lstm", weights_of(CASE), num_layers=2)
    assert (packed.input_size, packed.hidden_size, packed.proj_size) == (5, 33, 17)
    plain = functional.pack("lstm", [Weights(np.ones((4, 1)), np.ones((4, 1)))])
    assert plain.proj_size == 0


@pytest.mark.parametrize("cell", [c for c in COMPILED if c not in CELLS])
def test_other_cells_have_no_projection(cell: str) -> None:
    with pytest.raises(ValueError, match=f"proj_size: expected 0, as cell '{cell}' has no proj"):
        rnnfast.Recurrent(cell, 3, 4, proj_size=2)
    shapes = functional.cells()[cell].shapes(3, 4)
    weights = Weights(**{n: np.ones(s) for n, s in shapes.items()}, weight_hr=np.ones((2, 4)))
    with pytest.raises(ValueError, match=f"weight_hr: expected none for cell '{cell}'"):
        functional.forward(cell, np.ones((1, 1, 3)), [weights])


def replaced(field: str, value: NDArray[Any] | None, place: int = 0) -> list[Weights]:
    weights = weights_of(CASE)
    weights[place] = weights[place]._replace(**{field: value})
    return weights


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (replaced("weight_hr", None, 1), "weight_hr: expected an array, as in the first layer"),
        (replaced("weight_hr", None), r"weight_ih: expected shape .* = \(68, 5\), got \(132, 5\)"),
        (replaced("weight_hr", np.ones(17)), r"weight_hr: expected a matrix \(proj_size, hidden"),
        (replaced("weight_hr", np.ones((0, 33))), r"got shape \(0, 33\)"),
        (replaced("weight_hr", np.ones((16, 33))), r"weight_hh: .*proj_size\) = \(132, 16\)"),
        (replaced("weight_hr", np.ones((17, 32)), 1), r"weight_hr: .*hidden_size\) = \(17, 33\)"),
        (replaced("weight_ih", np.ones((132, 33)), 1), r"weight_ih: .*input_size\) = \(132, 17\)"),
    ],
)
def test_weights_that_do_not_fit_together_are_refused(weights: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        functional.forward("lstm", cases.make_data(CASE).x, weights, num_layers=2)


def test_states_of_other_widths_are_refused() -> None:
    layer = rnnfast.LSTM(5, 8, proj_size=3)
    x, narrow, wide = (np.zeros(s, np.float32) for s in ((2, 4, 5), (1, 4, 3), (1, 4, 8)))
    layer(x, (narrow, wide))
    for state, width in (((wide, wide), "proj_size"), ((narrow, narrow), "hidden_size")):
        with pytest.raises(ValueError, match=rf"state: expected shape \(num_la.*, {width}\)"):
            layer(x, state)


def test_a_size_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="proj_size: expected at least 0, got -1"):
        rnnfast.LSTM(5, 8, proj_size=-1)
    with pytest.raises(TypeError, match="proj_size"):
        rnnfast.LSTM(5, 8, proj_size=2.5)  # type: ignore[arg-type]


def test_formats_without_projections_say_so(tmp_path: Any) -> None:
    layer = rnnfast.LSTM(5, 8, proj_size=3)
    with pytest.raises(ValueError, match=r"which Keras's LSTM does not have, got proj_size=3"):
        rnnfast.to_keras_weights(layer)
    pytest.importorskip("onnx", reason="onnx is not installed")
    from rnnfast import onnx

    with pytest.raises(ValueError, match=r"which ONNX's LSTM does not have, got proj_size=3"):
        onnx.export(layer, tmp_path / "layer.onnx")


def test_inputs_are_dropped_by_one_mask_for_all_steps() -> None:
    noise.assert_as_reference(replace(CASE, D=2), input_dropout=0.4)


NOISE = [{"zoneout": (0.0, 0.1)}, {"recurrent_dropout": 0.1}, {"candidate_dropout": 0.1}]


@pytest.mark.parametrize("options", NOISE, ids=str)
def test_noise_in_the_steps_is_refused(options: Any) -> None:
    message = "zoneout, recurrent_dropout, candidate_dropout: expected 0 with proj_size, .*0.1"
    with pytest.raises(ValueError, match=message):
        rnnfast.LSTM(5, 8, proj_size=3, **options)
    x = cases.make_data(CASE).x
    for given in (x, x.tolist()):
        with pytest.raises(ValueError, match="weight_hr: expected none with zoneout, recurrent_"):
            functional.forward("lstm", given, weights_of(CASE), num_layers=2, **options)
        with pytest.raises(ValueError, match="weight_hr: expected none with zoneout, recurrent_"):
            functional.forward(
                "lstm", given, weights_of(CASE), num_layers=2, training=True, **options
            )
