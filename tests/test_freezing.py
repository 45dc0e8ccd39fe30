"""Frozen parameters and tied weights in layers and models."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import cases
import rnnfast
from cases import Case
from rnnfast import Embedding, Linear, Module, functional
from rnnfast._engine import backends


class Tagger(Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = Embedding(6, 4, seed=1)
        self.lstm = rnnfast.LSTM(4, 4, 2, bidirectional=True, learn_state=True, seed=2)
        self.head = Linear(8, 3, seed=3)

    def gradients(self) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Return the gradients of the parameters and the layer's input for a fixed input."""
        self.zero_grad()
        y, _ = self.lstm(self.embedding(np.array([[0, 5], [3, 3], [1, 0]])))
        dx, _ = self.lstm.backward(self.head.backward(np.ones_like(self.head(y))))
        assert dx is not None
        self.embedding.backward(dx)
        return {p.name: p.grad.copy() for p in self.parameters()}, dx


PARTS: list[Callable[[Tagger], Any]] = [
    lambda m: m.embedding,
    lambda m: m.lstm,
    lambda m: m.head,
    lambda m: m.head.weight,
    lambda m: m.head.bias,
    lambda m: m.lstm.weight_hh_l1_reverse,
    lambda m: m.lstm.initial_state_1,
]


@pytest.mark.parametrize("part", PARTS)
def test_backward_adds_nothing_to_what_is_frozen_and_the_rest_keeps_its_bits(
    part: Callable[[Tagger], Any],
) -> None:
    model = Tagger()
    free, dx = model.gradients()
    assert all(gradient.any() for gradient in free.values())
    frozen = part(model)
    parameters = list(frozen.parameters()) if isinstance(frozen, Module) else [frozen]
    held = {id(p.value) for p in parameters}
    names = {p.name for p in model.parameters() if id(p.value) in held}
    for parameter in model.parameters():  # by their names in the model
        if parameter.name in names:
            parameter.requires_grad = False
    assert not any(p.requires_grad for p in parameters)
    got, got_dx = model.gradients()
    assert names
    np.testing.assert_array_equal(got_dx, dx)
    for name, gradient in got.items():
        np.testing.assert_array_equal(gradient, 0 if name in names else free[name], err_msg=name)
    for parameter in parameters:
        parameter.requires_grad = True
    again, _ = model.gradients()
    for name, gradient in again.items():
        np.testing.assert_array_equal(gradient, free[name], err_msg=name)


CASES = [
    Case("lstm", T=3, B=1, L=2, D=2),
    Case("gru", T=2, B=2, indices=True),
    Case("gru", T=12, B=3, I=5, H=17, L=2, D=2),
    Case("lstm", T=30, B=7, I=5, H=17, indices=True),
    pytest.param(Case("lstm", T=12, B=3, P=6), marks=pytest.mark.cpu_only("projections")),
    Case("lstm", T=30, B=7, I=5, H=17, precision="bfloat16"),
    Case("rnn_tanh", T=30, B=7, I=5, H=17, bias=False),
    Case("mut3", T=12, B=3, I=5, H=17),
    Case("peephole_lstm", T=3, B=1),
    Case("peephole_lstm", T=12, B=3, I=5, H=17, lengths=True),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_that_nobody_wants_are_left_out_and_the_rest_keeps_its_bits(case: Case) -> None:
    _, _, reserve = cases.forward(case, training=True)
    data, backend = cases.make_data(case), backends.get(None)

    def gradients(wanted: set[str]) -> dict[str, np.ndarray]:
        """Return all results, given arrays to add to for the weights that are wanted."""
        given = [
            functional.Weights(
                *(
                    None if w is None or kind not in wanted else backend.asarray(np.ones_like(w))
                    for kind, w in zip(cases.KINDS, layer, strict=True)
                )
            )
            for layer in data.weights
        ]
        dx, dstate, got = functional.backward(reserve, data.dy, data.dstate, dweights=given)
        assert all(a is b for a, b in zip(got, given, strict=True))
        results = cases.named(data.dy, (), dx, dstate, given, case.D)
        return {name: backends.to_host(value) for name, value in results.items()}

    there = {kind for kind, w in zip(cases.KINDS, data.weights[0], strict=True) if w is not None}
    all_results = gradients(there)
    for wanted in (set(), *({kind} for kind in there), *(there - {kind} for kind in there)):
        got = gradients(wanted)
        left_out = {f"d{kind}_l" for kind in there - wanted}
        expected = {n: a for n, a in all_results.items() if not n.startswith(tuple(left_out))}
        cases.assert_identical(got, expected)


def test_a_gradient_of_a_weight_that_is_missing_is_refused() -> None:
    case = Case("gru", bias=False)
    data, backend = cases.make_data(case), backends.get(None)
    _, _, reserve = cases.forward(case, training=True)
    for name, shape in (("bias_ih", (24,)), ("weight_channel", (1, 8))):
        array = backend.asarray(np.zeros(shape, "f"))
        given = functional.Weights(*[None] * 2)._replace(**{name: array})
        with pytest.raises(ValueError, match=rf"dweights\[0\].{name}: expected None, as in wei"):
            functional.backward(reserve, data.dy, dweights=[given])


@pytest.mark.parametrize(
    "make", [lambda: rnnfast.Conv1d(3, 4, 2, seed=1), lambda: rnnfast.LayerNorm(3)]
)
@pytest.mark.parametrize("frozen", [["weight"], ["bias"], ["weight", "bias"]])
def test_other_layers_add_nothing_to_what_is_frozen(make: Any, frozen: list[str]) -> None:
    layer = make()
    x = np.random.default_rng(2).standard_normal((5, 2, 3)).astype("float32")

    def gradients() -> tuple[dict[str, np.ndarray], np.ndarray]:
        layer.zero_grad()
        call = layer.call(x)
        dx = call.backward(call.y)
        return {p.name: p.grad.copy() for p in layer.parameters()}, dx

    free, dx = gradients()
    assert all(gradient.any() for gradient in free.values())
    for name in frozen:
        getattr(layer, name).requires_grad = False
    got, got_dx = gradients()
    np.testing.assert_array_equal(got_dx, dx)
    for name, gradient in got.items():
        np.testing.assert_array_equal(gradient, 0 if name in frozen else free[name], err_msg=name)


def test_tensors_add_nothing_to_what_is_frozen() -> None:
    layer = Linear(3, 3, dtype=np.float64, seed=1)
    layer.weight.requires_grad = False
    assert not layer.weight.tensor().requires_grad
    y = layer(rnnfast.tensor(np.ones((2, 3)), requires_grad=True)) * layer.weight.sum()
    (y @ layer.weight.tensor()).sum().backward()
    assert not layer.weight.grad.any()
    assert layer.bias.grad.any()
    assert rnnfast.gradcheck(layer, np.ones((2, 3)))


def test_freeze_and_unfreeze_a_module() -> None:
    model = Tagger()
    names = set(model.state_dict())
    model.head.weight.grad[...] = 1
    assert model.head.freeze() is model.head
    assert not model.head.weight.grad.any()
    assert not model.head.bias.requires_grad
    assert model.lstm.weight_hh_l0.requires_grad
    assert set(model.state_dict()) == names
    model.load_state_dict({n: np.ones_like(a) for n, a in model.state_dict().items()})
    assert (model.head.weight.value == 1).all()
    model.freeze()
    assert not any(p.requires_grad for p in model.parameters())
    assert all(p.requires_grad for p in model.unfreeze().parameters())
    with pytest.raises(TypeError, match=r"weight\.requires_grad: expected True or False"):
        model.head.weight.requires_grad = "no"  # type: ignore[assignment]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_frozen_by_themselves(copied: Callable[[Tagger], Tagger]) -> None:
    model = Tagger()
    model.lstm.freeze()
    other = copied(model)
    assert not other.lstm.weight_ih_l0.requires_grad
    got, _ = other.gradients()
    assert not got["lstm.weight_ih_l0"].any()
    other.unfreeze()
    got, _ = other.gradients()
    assert got["lstm.weight_ih_l0"].any()
    assert got["lstm.initial_state_0"].any()
    assert not model.lstm.weight_ih_l0.requires_grad


# ---- tied weights


class Language(Module):
    def __init__(self, tied: bool = True) -> None:
        super().__init__()
        self.embedding = Embedding(6, 4, dtype="float64", seed=1)
        self.head = Linear(4, 6, bias=False, dtype="float64", seed=2)
        if tied:
            self.head.tie(self.embedding)

    def gradients(self) -> None:
        x = np.array([0, 2, 2])
        self.embedding.backward(self.head.backward(np.cos(self.head(self.embedding(x)))))


def test_a_tied_weight_counts_once_and_has_both_gradients() -> None:
    model, apart = Language(), Language(tied=False)
    assert model.head.weight is model.embedding.weight
    assert list(model.state_dict()) == ["embedding.weight"]
    apart.embedding.weight = model.embedding.weight.value
    apart.head.weight = model.embedding.weight.value
    model.gradients()
    apart.gradients()
    expected = apart.embedding.weight.grad + apart.head.weight.grad
    np.testing.assert_allclose(model.head.weight.grad, expected, rtol=1e-14)
    assert apart.embedding.weight.grad.any()
    assert apart.head.weight.grad.any()


@pytest.mark.parametrize("listed", [lambda m: m, lambda m: [m.embedding, m.head]])
def test_an_optimiser_updates_a_tied_weight_once(listed: Any) -> None:
    model = Language()
    model.gradients()
    before, gradient = model.head.weight.copy(), model.head.weight.grad.copy()
    optimizer = rnnfast.SGD(listed(model), lr=0.5)
    assert len(optimizer.parameters) == 1
    norm = rnnfast.clip_grad_norm_(listed(model), np.inf)
    assert norm == pytest.approx(np.linalg.norm(gradient), rel=1e-14)
    optimizer.step()
    np.testing.assert_array_equal(model.embedding.weight.value, before - 0.5 * gradient)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_stay_tied(copied: Callable[[Language], Language]) -> None:
    model = Language()
    other = copied(model)
    assert other.head.weight is other.embedding.weight
    assert other.head.weight is not model.head.weight
    other.load_state_dict({"embedding.weight": np.ones((6, 4))})
    assert (other.head(np.ones(4)) == 4).all()


def test_what_does_not_fit_is_not_tied() -> None:
    head = Linear(4, 6)
    with pytest.raises(
        ValueError, match=r"other\.weight: expected shape .* = \(6, 4\), got \(4, 6\)"
    ):
        head.tie(Embedding(4, 6))
    with pytest.raises(TypeError, match="other: expected dtype float32, got float64"):
        head.tie(Embedding(6, 4, dtype="float64"))
    with pytest.raises(TypeError, match="other: expected an Embedding or a Linear, got LSTM"):
        head.tie(rnnfast.LSTM(4, 6))  # type: ignore[arg-type]
    one, other = Linear(4, 4), Linear(4, 4)
    assert one.tie(other) is one
    groups = [{"params": one.weight}, {"params": other}]
    with pytest.raises(ValueError, match="got weight twice"):
        rnnfast.SGD(groups)
