"""`rnnfast.trace`: all states and gates of all cells, as the reference computes them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import rnnfast
import tolerances
from cases import Case, Data, make_data, make_layer, new_layer
from rnnfast._engine import known
from rnnfast.cells import ZOO, sigmoid, tanh
from rnnfast.inspection import passes
from rnnfast.reference import Cell
from rnnfast.traced.graph import reachable
from trace_cases import assert_reference, reference


@pytest.fixture
def two_steps_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs go through time in chunks of two steps."""
    monkeypatch.setattr(passes.Run, "_steps_of_a_chunk", lambda *_: 2)


def call(case: Case, data: Data, **options: Any) -> rnnfast.inspection.States:
    layer = make_layer(case)
    state = data.state if len(data.state) > 1 else data.state[0]
    return rnnfast.trace(layer, data.x, state, lengths=data.lengths, **options)


def every_name(cell: str) -> tuple[str, ...]:
    named = known.named_values(cell)
    return (*named.states, *named.values)


def check(case: Case, **options: Any) -> None:
    data = make_data(case)
    exact = reference(case, data)
    single = replace(case, dtype="float32")
    plain = reference(single, make_data(single), "float32")
    assert_reference(call(case, data, **options), exact, plain, case)


@pytest.mark.parametrize("cell", ZOO)
@pytest.mark.usefixtures("two_steps_at_a_time")
def test_all_values_of_every_cell(cell: str) -> None:
    reads_input = ZOO[cell].reads_input
    size = {"I": 9} if reads_input else {"D": 2}
    case = Case(cell, T=5, B=3, H=9, L=2, lengths=True, **size)
    check(case, values=every_name(cell))
    named = known.named_values(cell)
    gates = [name for name in named.values if name not in named.sums]
    traced = call(case, make_data(case))
    assert all(list(values) == [*named.states, *gates] for values in traced.values())


@pytest.mark.parametrize("cell", ["lstm", "gru", "mut3"])
@pytest.mark.parametrize(
    "sizes",
    [
        {"dtype": "float64"},
        {"indices": True, "bias": False},
        {"H": 101, "B": 1, "T": 3},
        {"L": 3, "T": 7, "B": 9},
    ],
    ids=str,
)
@pytest.mark.usefixtures("two_steps_at_a_time")
def test_networks_of_all_kinds(cell: str, sizes: dict[str, Any]) -> None:
    check(Case(cell, **sizes))
    check(Case(cell, **sizes), values=("h",))


@pytest.mark.parametrize("cell", ["lstm", "peephole_lstm"])
@pytest.mark.parametrize("values", [None, ("h", "c")])
def test_projection(cell: str, values: tuple[str, ...] | None) -> None:
    case = Case(cell, T=6, H=17, L=2, D=2, P=5, lengths=True)
    check(case, values=values)
    assert call(case, make_data(case))["l1_reverse"]["h"].shape == (6, 3, 5)


def test_bfloat16() -> None:
    case = Case("lstm", T=4, H=17, precision="bfloat16")
    data = make_data(case)
    exact = reference(case, data)
    runs = [reference(case, data, "float32", r)["l0"] for r in tolerances.dithered(case.rounding)]
    far = {
        n: max((run[n] for run in runs), key=lambda v, n=n: abs(v - exact["l0"][n]).max())
        for n in exact["l0"]
    }
    assert_reference(call(case, data), exact, {"l0": far}, case)
    with pytest.raises(AssertionError):  # the test would notice full precision
        assert_reference(call(replace(case, precision="full"), data), exact, {"l0": far}, case)


@pytest.mark.parametrize("cell", known.COMPILED)
@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"dtype": "float64"},
        {"precision": "bfloat16"},
        {"bias": False, "B": 1},
        {"H": 101, "B": 33},
    ],
    ids=str,
)
def test_states_have_the_bits_of_calls(cell: str, sizes: dict[str, Any]) -> None:
    case = Case(cell, T=9, **{"H": 37, **sizes})
    data, layer = make_data(case), make_layer(case).eval()
    state = data.state if len(data.state) > 1 else data.state[0]
    y, final = layer(data.x, state)
    traced = call(case, data)["l0"]
    np.testing.assert_array_equal(traced["h"], y)
    if len(data.state) > 1:
        np.testing.assert_array_equal(traced[every_name(cell)[1]][-1], final[1][0])


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("training", [True, False])
def test_noise_as_in_evaluation(cell: str, training: bool) -> None:
    case = Case(cell, T=6, H=9, L=2)
    data = make_data(case)
    states = len(data.state)
    rates = (0.3, 0.2)[:states]
    layer = make_layer(
        case, zoneout=rates, dropout=0.4, input_dropout=0.3, recurrent_dropout=0.2,
        candidate_dropout=0.1,
    ).train(training)  # fmt: skip
    kept = [[np.full((case.T, case.B, case.H), 1 - p) for p in rates]] * case.L
    run = partial(reference, case, data, zoneout_masks=kept)
    state = data.state if states > 1 else data.state[0]
    assert_reference(rnnfast.trace(layer, data.x, state), run(), run("float32"), case)
    assert layer.training is training


def test_learned_state_and_batch_first() -> None:
    case = Case("lstm", T=4, H=9)
    data = make_data(case)
    layer = new_layer(case, learn_state=True, batch_first=True)
    first = np.random.default_rng(0).standard_normal((2, 1, 9))
    learned_states = {f"initial_state_{k}": first[k] for k in range(2)}
    layer.load_state_dict(make_layer(case).state_dict() | learned_states)
    c = data.state[1]
    learned = layer.initial_state_0.value[:, None].repeat(case.B, 1)
    data = data._replace(state=(learned, c))
    got = rnnfast.trace(layer, data.x.swapaxes(0, 1), (None, c))
    assert_reference(got, reference(case, data), reference(case, data, "float32"), case)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["gru", "lstm", "rnn_tanh"]), st.integers(0, 9), st.integers(1, 4),
    st.integers(1, 3), st.sampled_from([1, 2]), st.integers(1, 10), st.data(),
)  # fmt: skip
def test_chunks_change_no_bit(
    cell: str, T: int, B: int, L: int, D: int, steps: int, data: st.DataObject
) -> None:
    lengths = data.draw(st.none() | st.lists(st.integers(0, T), min_size=B, max_size=B))
    layer = rnnfast.Recurrent(cell, 3, 5, L, bidirectional=D == 2, seed=0)
    x = np.random.default_rng(0).standard_normal((T, B, 3)).astype(np.float32)
    whole = rnnfast.trace(layer, x, lengths=lengths)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes.Run, "_steps_of_a_chunk", lambda *_: steps)
        parts = rnnfast.trace(layer, x, lengths=lengths)
    for name, values in whole.items():
        for value, array in values.items():
            assert parts[name][value].tobytes() == array.tobytes(), (name, value)
    y, _ = layer(x, lengths=lengths)
    last = [whole[f"l{L - 1}{suffix}"]["h"] for suffix in ("", "_reverse")[:D]]
    np.testing.assert_allclose(np.concatenate(last, -1), y, atol=1e-6)


def test_a_selection_of_values_and_units() -> None:
    case = Case("lstm", T=5, H=17, L=2)
    data = make_data(case)
    everything = call(case, data)
    some = call(case, data, values=("o", "h", "c"), units=[16, 0, 3])
    assert list(some) == ["l0", "l1"]
    for layer, values in some.items():
        assert list(values) == ["o", "h", "c"]
        for name, value in values.items():
            np.testing.assert_array_equal(value, everything[layer][name][..., [16, 0, 3]])


# --- names ---------------------------------------------------------------------------------------


def names(cell: Cell | str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    named = known.named_values(known.name_of(cell))
    return named.states, tuple(named.values)


def test_names_of_well_known_cells() -> None:
    assert names("lstm")[0] == ("h", "c")
    assert {"i", "f", "g", "o"} <= {*names("lstm")[1]}
    assert {"r", "z", "n"} <= {*names("gru")[1]}
    assert names("nas")[1][-8:] == tuple(f"l{k}" for k in range(8))
    assert names("lstm_fgr")[0] == ("h", "c", "i", "f", "o")
    assert names("intersection_rnn")[0] == ("h", "h_")  # its h is its second state


def test_gates_and_their_sums() -> None:
    named = known.named_values("lstm")
    assert named.sums == {"a_i", "a_f", "a_g", "a_o"}
    assert known.named_values("gru").sums == {"h_r", "h_z", "h_n"}
    assert "g" not in known.named_values("lstm_niaf").sums  # a candidate without a function


@pytest.mark.parametrize("cell", [n for n in ZOO if not n.startswith("recurrent_highway")])
def test_every_gate_of_the_zoo_has_a_name(cell: str) -> None:
    named = known.named_values(cell)
    have_names = {*named.values.values(), *named.equations.results}
    nodes = reachable(named.equations.results)
    for gate in nodes:
        of = {one.op for one in reachable([gate])}
        if gate.op != "sigmoid" or not of & {"x", "product"} or of & {"tanh", "relu"}:
            continue
        if gate.inputs[0] in named.equations.results:  # the squashing function of the first LSTM
            continue
        forms = {gate}  # 1 - gate and the like
        for node in nodes:
            if forms.issuperset(one for one in node.inputs if one.op != "const"):
                forms |= {node} if node.inputs and node.op != "const" else set()
        assert forms & have_names, gate


def _inner(a: Any, b: Any) -> Any:
    hidden = tanh(a + b)  # noqa: F841  (a variable of a function that returns something else)
    return sigmoid(a * b)


def _rest(h: Any, c: Any, gate: Any) -> tuple[Any, Any]:
    rest = 1 - gate
    return rest * h + gate * c, c


def test_names_of_helpers_tuples_rebinding_and_states() -> None:
    def step(x: Any, recurrent: Any, state: Any, channel: Any) -> tuple[Any, Any]:
        h, c_before = state
        pair = recurrent(h)
        _hidden = pair[0] + x[0]
        gate = x[1] + pair[1]
        gate = _inner(gate, channel[0])
        alone = sigmoid(channel[0])
        other = tanh(gate) * 2  # which no state needs
        both = (gate, other, 3.0)  # noqa: F841
        c = c_before * gate + alone * tanh(_hidden)
        return _rest(h, c, gate)

    cell = Cell("named", step, states=2, gates=2, params=1)
    assert names(cell) == (("h", "c"), ("pair[0]", "pair[1]", "gate", "other", "rest"))


def test_names_without_variables() -> None:
    cell = Cell("short", lambda x, r, s, _: (tanh(x[0] + r(s[0])[0]), tanh(s[1] + x[0])), states=2)
    assert names(cell) == (("h", "state_1"), ())
    layer = rnnfast.Recurrent(cell, 3, 4, seed=0)
    x = np.ones((5, 2, 3), np.float32)
    traced = rnnfast.trace(layer, x)
    y, (_, last) = layer(x)
    np.testing.assert_array_equal(traced["l0"]["h"], y)
    np.testing.assert_array_equal(traced["l0"]["state_1"][-1], last[0])


def test_a_profiler_of_the_caller_stays() -> None:
    import cProfile

    profiler = cProfile.Profile()
    profiler.enable()
    known.named_values(known.name_of(replace(ZOO["mgu"], name="profiled")))
    sum([])
    profiler.disable()
    assert any("sum" in str(entry.code) for entry in profiler.getstats())


def test_values_that_no_state_needs_are_computed() -> None:
    def step(x: Any, recurrent: Any, state: Any, _channel: Any) -> tuple[Any]:
        (h,) = state
        f = sigmoid(x[0] + recurrent(h, 0)[0])
        n = tanh(x[1] + recurrent(f * h, 1)[0])
        openness = f * f + 0.5 * n  # noqa: F841
        old = 2 * h  # noqa: F841
        return ((1 - f) * h + f * n,)

    cell = Cell("with_a_diagnosis", step, gates=2)
    case = Case(known.name_of(cell), T=4, H=9)
    assert names(cell)[1] == ("f", "n", "openness", "old")
    check(case)


# --- errors and texts ----------------------------------------------------------------------------


def refused(error: type[Exception], match: str, *args: Any, **options: Any) -> None:
    layer = rnnfast.LSTM(3, 4, 2)
    x = np.zeros((5, 2, 3), np.float32)
    with pytest.raises(error, match=match):
        rnnfast.trace(*(args or (layer, x)), **options)


def test_errors() -> None:
    layer, x = rnnfast.LSTM(3, 4, 2), np.zeros((5, 2, 3), np.float32)
    refused(ValueError, r"values: expected names out of h, c, a_i, .* of cell 'lstm', got 'k'",
            values=("h", "k"))  # fmt: skip
    refused(TypeError, r'values: expected names, such as \("h", "c"\), got \'h\'', values="h")
    refused(ValueError, r"units: expected a list of numbers in \[0, 4\)", units=[4])
    refused(ValueError, r"units: expected a list of numbers", units=[[1]])
    refused(TypeError, r"units: expected an array of integers", units=[0.5])
    refused(ValueError, r"x: expected shape \(T, B, I\)", layer, x[0, 0])
    refused(TypeError, r"x: expected numbers, got text; .* model.voc", layer, "a text")
    refused(ValueError, r"input_size = 3", layer, x[..., :2])
    refused(TypeError, r"state: expected a tuple of 2 arrays", layer, x, x[0])
    refused(ValueError, r"state: expected shape .* = \(2, 2, 4\)", layer, x, (x[:2, :, :2], None))
    refused(ValueError, r"lengths: expected values in \[0, seq_len\]", lengths=[6, 1])
    refused(TypeError, r"model: expected a module of rnnfast or PyTorch, got int", 3, x)
    refused(ValueError, r"model: expected one with recurrent layers", rnnfast.Linear(3, 4), x)
    refused(TypeError, r"trace: expected at most x and state, got 3", layer, x, None, x)


def test_mappings_and_texts() -> None:
    traced = rnnfast.trace(rnnfast.GRU(3, 4, 2), np.zeros((5, 2, 3)), values=["z", "h"])
    assert list(traced) == ["l0", "l1"]
    assert len(traced) == len(traced["l0"]) == 2
    assert repr(traced) == (
        "l0  z  (5, 2, 4)  float32\nl0  h  (5, 2, 4)  float32\n"
        "l1  z  (5, 2, 4)  float32\nl1  h  (5, 2, 4)  float32"
    )
    assert repr(traced["l0"]).splitlines()[0] == "z  (5, 2, 4)  float32"
    html = traced._repr_html_()
    assert html.count("<tr>") == 5
    assert "<td>l1</td><td>z</td><td>(5, 2, 4)</td><td>float32</td>" in html
    assert "<th>value</th>" in traced["l0"]._repr_html_()
    with pytest.raises(KeyError, match="layer: expected one of l0, l1, got 'l2'"):
        traced["l2"]
    with pytest.raises(KeyError, match="value: expected one of z, h, got 'c'"):
        traced["l0"]["c"]


def test_an_observing_form_has_no_gradient() -> None:
    form, slots = known.observing("gru", ("z",))
    layer = rnnfast.GRU(3, 4)
    x: NDArray = np.zeros((5, 2, 3), np.float32)
    _, _, reserve = rnnfast.functional.forward(form, x, layer._weights, training=True)
    assert form not in rnnfast.functional.cells()
    with pytest.raises(ValueError, match="reserve: expected that of a cell with gradients"):
        rnnfast.functional.backward(reserve)
    read = reserve.core.read_values
    right = np.empty((5, 2, 4), np.float32)
    read(0, [("slot", slots["z"], right)])
    for told, message in (
        (("gate", 0, right), "expected a state or a slot, got gate"),
        (("slot", 3, right), "expected slot 0 to 2, got 3"),
        (("state", 1, right), "expected state 0 to 0, got 1"),
        (("state", 0, right[:4]), "expected a writable array"),
        (("state", 0, right.astype(float)), "expected a writable array"),
    ):
        with pytest.raises(ValueError, match=message):
            read(0, [told])
    with pytest.raises(ValueError, match="cell: expected 0 to 0, got 1"):
        read(1, [("state", 0, right)])
