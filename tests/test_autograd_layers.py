"""Layers, losses and parameters with tensors: models of several calls, and their gradients."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest

import rnnfast
from layer_cases import NAMED
from rnnfast import autograd
from rnnfast._engine import backends
from rnnfast.layers.calls import Layer
from tolerances import TORCH_RELATIVE_FLOAT64


def reals(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def integers(end: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, end, shape)


def gradients(*modules: rnnfast.Module) -> list[np.ndarray]:
    """Return the gradients of the parameters and reset them to zero."""
    found = [p.grad.copy() for module in modules for p in module.parameters()]
    for module in modules:
        module.zero_grad()
    return found


def assert_same(got: Any, expected: Any) -> None:
    """Check that results are the same, bit for bit."""
    if isinstance(expected, (tuple, list)):
        for one, other in zip(got, expected, strict=True):
            assert_same(one, other)
    else:
        got = got.value if isinstance(got, rnnfast.Tensor) else got
        np.testing.assert_array_equal(got, expected)


def test_every_layer_takes_tensors() -> None:
    layers = [kind for kind in vars(rnnfast).values() if isinstance(kind, type)]
    layers = [kind for kind in layers if issubclass(kind, Layer)]
    assert rnnfast.Linear in layers
    for kind in layers:
        names = kind.__call__.__code__.co_names
        assert {"recorded_call", "recorded_recurrent_call"} & set(names), kind


LAYERS: dict[str, tuple[Any, Any]] = {
    "linear": (lambda **o: rnnfast.Linear(3, 4, **o), reals(5, 2, 3)),
    "linear of integers": (lambda **o: rnnfast.Linear(3, 4, **o), integers(3, 2, 3)),
    "embedding": (lambda **o: rnnfast.Embedding(6, 4, **o), integers(6, 5, 2)),
    "one-hot": (lambda **o: rnnfast.GRU(3, 4, **o), integers(3, 5, 2)),
    "batch_first": (lambda **o: rnnfast.LSTM(3, 4, batch_first=True, **o), reals(2, 5, 3)),
    "bidirectional": (lambda **o: rnnfast.GRU(3, 4, 2, bidirectional=True, **o), reals(5, 2, 3)),
    "dropout": (lambda **o: rnnfast.GRU(3, 4, 2, dropout=0.5, **o), reals(5, 2, 3)),
    "learned": (lambda **o: rnnfast.LSTM(3, 4, learn_state=True, **o), reals(5, 2, 3)),
    "projected": (lambda **o: rnnfast.LSTM(3, 4, proj_size=2, **o), reals(5, 2, 3)),
    "activation": (lambda **_: rnnfast.Tanh(), reals(5, 2, 3)),
    "dropout alone": (lambda **o: rnnfast.Dropout(0.5, **o), reals(5, 2, 3)),
    "sequential": (
        lambda **o: rnnfast.Sequential(
            rnnfast.GRU(3, 4, **o),
            rnnfast.Residual(rnnfast.Linear(4, 4, **o)),
            rnnfast.LayerNorm(4),
            rnnfast.Last(),
        ),
        reals(5, 2, 3),
    ),
    "sequential of indices": (
        lambda **o: rnnfast.Sequential(rnnfast.Embedding(6, 4, **o), rnnfast.LSTM(4, 4, **o)),
        integers(6, 5, 2),
    ),
    "nas": (lambda **o: rnnfast.Recurrent("nas", 3, 4, **o), reals(5, 2, 3)),
}


@pytest.mark.parametrize("x_requires_grad", [False, True])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_recorded_call_has_the_bits_of_the_explicit_one(kind: str, x_requires_grad: bool) -> None:
    make, x = LAYERS[kind]
    if x_requires_grad and x.dtype.kind != "f":
        return  # integers have no gradient
    layer, twin = make(seed=1), make(seed=1)
    t = rnnfast.tensor(x, requires_grad=x_requires_grad)
    call, result = twin.call(x), layer(t)
    recurrent = isinstance(layer, rnnfast.Recurrent)
    assert_same(result, (call.y, call.state) if recurrent else call.y)
    weight = reals(*call.y.shape).astype("f4")
    (result[0] if recurrent else result).backward(weight)
    options = {} if kind == "embedding" else {"need_dx": x_requires_grad}
    returned = call.backward(weight, **options)
    assert_same(gradients(layer), gradients(twin))
    if x_requires_grad:
        dx = returned[0] if recurrent else returned
        assert_same(t.grad, dx.astype(x.dtype))
        assert t.grad.dtype == x.dtype
    else:
        assert t.grad is None


@pytest.mark.parametrize("cell", NAMED)
def test_gradients_of_recurrent_layers_are_those_of_central_differences(cell: str) -> None:
    kind, options = NAMED[cell]
    layer = kind(3, 4, bidirectional=True, dtype="float64", seed=1, **options)
    x = rnnfast.tensor(reals(4, 2, 3))
    state = tuple(reals(2, 2, 4, seed=k) for k in range(layer._states))
    given = state if len(state) > 1 else state[0]
    lengths = np.array([4, 2])
    assert rnnfast.gradcheck(lambda h: layer(x, h, lengths), (given,), parameters=[])
    assert rnnfast.gradcheck(layer, (x.value, given, lengths), fast_mode=True)
    assert rnnfast.gradcheck(
        lambda x, h: layer(x, h, lengths),
        (x.value, given),
        backward=layer.backward,
        parameters=layer.parameters(),
        fast_mode=True,
    )


def test_lengths_of_a_sequential_model() -> None:
    model = rnnfast.Sequential(
        rnnfast.GRU(3, 4, bidirectional=True, dtype="float64", seed=1),
        rnnfast.MergeDirections("product"),
        rnnfast.Conv1d(4, 3, 3, padding="causal", dtype="float64", seed=2),
        rnnfast.Tanh(),
        rnnfast.MeanPool(),
    )
    x, lengths = reals(5, 2, 3), np.array([5, 2])
    assert rnnfast.gradcheck(model, (x, lengths))
    assert not np.array_equal(model(rnnfast.tensor(x)).value, model(x, lengths))


def test_states_of_arrays_tensors_parameters_and_none() -> None:
    layer = rnnfast.LSTM(3, 4, learn_state=True, dtype="float64", seed=1)
    x, h, c = (reals(*shape) for shape in ((5, 2, 3), (1, 2, 4), (1, 2, 4)))
    start = rnnfast.Parameter("start", h.copy(), np.zeros_like(h))
    tensor = rnnfast.tensor(h, requires_grad=True)
    results = []
    for state in ((h, None), (tensor, None), [start, None], (start.tensor(), None)):
        y, (_, final) = layer(rnnfast.tensor(x), state)
        (y.sum() + final.mean()).backward()
        results.append(gradients(layer))
    for other in results[1:]:
        assert_same(other, results[0])
    assert tensor.grad.any()
    np.testing.assert_array_equal(start.grad, 2 * tensor.grad)
    y, _ = layer(rnnfast.tensor(x), (None, rnnfast.tensor(c)))
    y.sum().backward()
    assert layer.initial_state_0.grad.any()
    assert not layer.initial_state_1.grad.any()
    with pytest.raises(TypeError, match="state: expected a tuple of 2 arrays"):
        layer(rnnfast.tensor(x), tensor)
    with pytest.raises(ValueError, match="state"):
        rnnfast.GRU(3, 4)(rnnfast.tensor(x), rnnfast.tensor(h[:, :1]))


def test_gradients_go_from_segment_to_segment() -> None:
    """A sequence in two calls has the gradients of one call, and detach cuts them off."""
    layer = rnnfast.LSTM(3, 4, dtype="float64", seed=1)
    x = rnnfast.tensor(reals(6, 2, 3), requires_grad=True)
    layer(x)[0].sum().backward()
    whole, dx = gradients(layer), x.grad.copy()
    first, state = layer(x[:4])
    second, _ = layer(x[4:], state)
    (first.sum() + second.sum()).backward()
    for got, expected in zip([*gradients(layer), x.grad - dx], [*whole, dx], strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-13)
    dx = x.grad.copy()
    _, (h, c) = layer(x[:4])
    layer(x[4:], (h.detach(), c.detach()))[0].sum().backward()
    assert not (x.grad - dx)[:4].any()
    assert (x.grad - dx)[4:].all()


def siamese(encoder: rnnfast.GRU, head: rnnfast.Linear, a: Any, b: Any) -> rnnfast.Tensor:
    """Return a number for each pair of sequences, using one encoder for both."""
    (_, ha), (_, hb) = encoder(a), encoder(b)
    return head(abs(ha[-1] - hb[-1]))


def test_siamese_network() -> None:
    encoder = rnnfast.GRU(3, 5, dtype="float64", seed=1)
    head = rnnfast.Linear(5, 1, dtype="float64", seed=2)
    a, b = reals(4, 2, 3), reals(6, 2, 3, seed=1)
    assert rnnfast.gradcheck(
        lambda a, b: siamese(encoder, head, a, b),
        (a, b),
        parameters=[*encoder.parameters(), *head.parameters()],
    )
    siamese(encoder, head, rnnfast.tensor(a), rnnfast.tensor(b)).sum().backward()
    by_tape = gradients(encoder, head)
    calls = [encoder.call(a), encoder.call(b)]
    difference = calls[0].state[-1] - calls[1].state[-1]
    distance = head.call(np.abs(difference))
    dh = np.sign(difference) * distance.backward(np.ones((2, 1)))
    calls[1].backward(None, -dh[None], need_dx=False)  # like the tape, the last call first
    calls[0].backward(None, dh[None], need_dx=False)
    assert_same(by_tape, gradients(encoder, head))


class Translator(rnnfast.Module):
    """An encoder, and a decoder that looks at the encoder's outputs before each step."""

    def __init__(self, words: int, size: int, dtype: str = "float64") -> None:
        super().__init__()
        self.source = rnnfast.Embedding(words, size, dtype=dtype, seed=1)
        self.target = rnnfast.Embedding(words, size, dtype=dtype, seed=2)
        self.encoder = rnnfast.GRU(size, size, dtype=dtype, seed=3)
        self.decoder = rnnfast.LSTM(2 * size, size, dtype=dtype, seed=4)
        self.query = rnnfast.Linear(size, size, bias=False, dtype=dtype, seed=5)
        self.head = rnnfast.Linear(2 * size, words, dtype=dtype, seed=6)

    def __call__(self, source: np.ndarray, target: np.ndarray, lengths: np.ndarray) -> Any:
        seen, h = self.encoder(self.source(rnnfast.tensor(source)), None, lengths)  # (S, B, H)
        beyond = np.where(np.arange(len(source))[:, None] < lengths, 0.0, -np.inf)  # (S, B)
        state = h, rnnfast.tensor(np.zeros(h.shape))
        previous = self.target(rnnfast.tensor(target[:-1]))
        logits = []
        for step in range(len(target) - 1):
            weights = autograd.softmax((seen * self.query(state[0])).sum(axis=-1) + beyond, axis=0)
            context = (weights[..., None] * seen).sum(axis=0, keepdims=True)
            x = autograd.concatenate([previous[step : step + 1], context], axis=-1)
            y, state = self.decoder(x, state)
            logits.append(self.head(autograd.concatenate([y, context], axis=-1)))
        return rnnfast.cross_entropy(autograd.concatenate(logits), target[1:], ignore_index=0)


def translated_by_torch(
    model: Translator, source: np.ndarray, target: np.ndarray, lengths: np.ndarray
) -> tuple[float, dict[str, np.ndarray]]:
    """Return the loss and the gradients of the same model in PyTorch."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    words, size = model.source.num_embeddings, model.source.embedding_dim
    twin = torch.nn.ModuleDict(
        {
            "source": torch.nn.Embedding(words, size),
            "target": torch.nn.Embedding(words, size),
            "encoder": torch.nn.GRU(size, size),
            "decoder": torch.nn.LSTM(2 * size, size),
            "query": torch.nn.Linear(size, size, bias=False),
            "head": torch.nn.Linear(2 * size, words),
        }
    ).double()
    twin.load_state_dict({n: torch.from_numpy(v) for n, v in model.state_dict().items()})
    source, target, lengths = map(torch.from_numpy, (source, target, lengths))
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        twin["source"](source), lengths, enforce_sorted=False
    )
    seen, h = twin["encoder"](packed)
    seen, _ = torch.nn.utils.rnn.pad_packed_sequence(seen, total_length=len(source))
    beyond = torch.arange(len(source))[:, None] >= lengths
    state = h, torch.zeros_like(h)
    previous = twin["target"](target[:-1])
    logits = []
    for step in range(len(target) - 1):
        scores = (seen * twin["query"](state[0])).sum(-1).masked_fill(beyond, -torch.inf)
        context = (scores.softmax(0)[..., None] * seen).sum(0, keepdim=True)
        y, state = twin["decoder"](torch.cat([previous[step : step + 1], context], -1), state)
        logits.append(twin["head"](torch.cat([y, context], -1)))
    loss = torch.nn.functional.cross_entropy(
        torch.cat(logits).flatten(0, 1), target[1:].flatten(), ignore_index=0
    )
    loss.backward()
    return loss.item(), {n: p.grad.numpy() for n, p in twin.named_parameters()}


def batch_to_translate() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return integers(7, 6, 3, seed=1), integers(7, 5, 3, seed=2), np.array([6, 2, 4])


def test_a_decoder_with_attention_has_the_gradients_of_torch() -> None:
    model, batch = Translator(7, 4), batch_to_translate()
    expected, wanted = translated_by_torch(model, *batch)
    loss = model(*batch)
    loss.backward()
    assert loss.item() == pytest.approx(expected, rel=TORCH_RELATIVE_FLOAT64)
    found = {p.name: p.grad for p in model.parameters()}
    assert set(found) == set(wanted)
    for name, gradient in found.items():
        atol = TORCH_RELATIVE_FLOAT64 * np.abs(wanted[name]).max()
        assert atol > 0
        np.testing.assert_allclose(gradient, wanted[name], rtol=0, atol=atol, err_msg=name)


def test_a_decoder_with_attention_has_the_gradients_of_central_differences() -> None:
    model, batch = Translator(7, 2), batch_to_translate()
    assert rnnfast.gradcheck(
        lambda _: model(*batch), np.zeros(0), parameters=model.parameters(), fast_mode=True
    )


@pytest.mark.usefixtures("threads")
def test_gradients_have_the_same_bits_each_time_and_for_any_number_of_threads() -> None:
    model, batch = Translator(7, 33, "float32"), batch_to_translate()
    found = []
    for threads in (1, 2, 1):
        rnnfast.set_num_threads(threads)
        model(*batch).backward()
        found.append(gradients(model))
    assert_same(found[1], found[0])
    assert_same(found[2], found[0])


def test_one_parameter_in_two_places_gets_the_sum() -> None:
    embedding = rnnfast.Embedding(7, 4, dtype="float64", seed=1)
    gru = rnnfast.GRU(4, 4, dtype="float64", seed=2)
    x, targets = integers(7, 5, 2), integers(7, 5, 2, seed=1)

    def model() -> rnnfast.Tensor:
        h, _ = gru(embedding(rnnfast.tensor(x)))
        return rnnfast.cross_entropy(h @ embedding.weight.tensor().T, targets)

    parameters = [*embedding.parameters(), *gru.parameters()]
    assert rnnfast.gradcheck(lambda _: model(), np.zeros(0), parameters=parameters)
    model().backward()
    by_tape = gradients(embedding, gru)
    first, head = embedding.call(x), rnnfast.Linear(4, 7, bias=False, dtype="float64")
    second = gru.call(first.y)
    head.weight = embedding.weight.value
    third = head.call(second.y)
    _, dlogits = rnnfast.softmax_cross_entropy(third.y, targets)
    first.backward(second.backward(third.backward(dlogits))[0])
    expected = gradients(embedding, gru)
    expected[0] += head.weight.grad
    for got, wanted in zip(by_tape, expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("loss", [rnnfast.cross_entropy, rnnfast.softmax_cross_entropy])
def test_losses_of_tensors(loss: Any) -> None:
    logits, targets = reals(4, 2, 5).astype("f4"), integers(5, 4, 2)
    targets[1, 0] = -1
    value, dlogits = rnnfast.softmax_cross_entropy(logits, targets, ignore_index=-1)
    for scale in (1, 0.5):
        x = rnnfast.tensor(logits, requires_grad=True)
        result = loss(x, targets, ignore_index=-1)
        assert type(result) is rnnfast.Tensor
        assert (result.shape, result.dtype) == ((), np.float32)
        assert result.item() == np.float32(value)
        (result * scale).backward()
        np.testing.assert_array_equal(x.grad, scale * dlogits)
    constant = loss(rnnfast.tensor(logits), targets, ignore_index=-1)
    assert not constant.requires_grad
    assert constant.item() == np.float32(value)


def test_losses_of_ones_own() -> None:
    @autograd.takes_tensors
    def squares(y: Any, target: np.ndarray, reduction: str = "sum") -> Any:
        error = y - target
        losses = (error * error).sum(axis=-1)
        return losses if reduction == "none" else losses.sum(), 2 * error

    y, target = reals(4, 2, 3), reals(4, 2, 3, seed=1)
    assert rnnfast.gradcheck(lambda t: squares(t, target), y)
    assert rnnfast.gradcheck(lambda t: squares(t, target, "none"), y)
    loss, gradient = squares(y, target=target)
    np.testing.assert_array_equal(gradient, 2 * (y - target))
    assert squares(rnnfast.tensor(y), target=target).item() == loss
    assert squares.__name__ == "squares"
    with pytest.raises(ValueError, match=r"gradient: expected shape of y = \(4, 2, 3\)"):
        autograd.recorded(rnnfast.tensor(y, requires_grad=True), 1.0, y[0])


def test_evaluation_records_nothing_and_refuses_gradients() -> None:
    model, batch = Translator(7, 4).eval(), batch_to_translate()
    result = model(*batch)
    assert not result.requires_grad
    with pytest.raises(RuntimeError, match="got one computed from none"):
        result.backward()
    x = rnnfast.tensor(reals(5, 2, 4), requires_grad=True)
    for layer in (model.encoder, model.query):
        y = layer(x)[0] if layer is model.encoder else layer(x)
        with pytest.raises(
            RuntimeError, match=rf"{type(layer).__name__}: expected training .* `x\.detach\(\)`"
        ):
            (x + y).sum().backward()
        assert x.grad is None
        assert not (layer(x.detach())[0]).requires_grad


def test_a_part_of_a_model_can_stay_in_evaluation() -> None:
    frozen, head = rnnfast.GRU(3, 4, seed=1).eval(), rnnfast.Linear(4, 2, seed=2)
    y, _ = frozen(rnnfast.tensor(reals(5, 2, 3)))
    head(y).sum().backward()
    assert head.weight.grad.any()
    assert not any(g.any() for g in gradients(frozen))


def test_calls_with_tensors_leave_those_that_wait_alone() -> None:
    layer = rnnfast.Linear(3, 4, seed=1)
    x = reals(2, 3).astype("f4")
    y = layer(x)
    recorded = layer(rnnfast.tensor(x))
    layer.backward(y)
    explicit = gradients(layer)
    recorded.backward(y)
    assert_same(gradients(layer), explicit)


def test_backward_frees_what_a_call_kept() -> None:
    layer = rnnfast.GRU(3, 4, seed=1)
    x = reals(5, 2, 3).astype("f4")
    kept = weakref.ref(x)
    y, h = layer(rnnfast.tensor(x))
    del x
    assert kept() is not None
    h.sum().backward()
    assert kept() is None
    with pytest.raises(RuntimeError, match="an earlier `backward` has reached"):
        y.sum().backward()


def test_results_of_layers_are_read_only() -> None:
    y = rnnfast.Linear(3, 4)(rnnfast.tensor(reals(2, 3)))
    with pytest.raises(ValueError, match="read-only"):
        y.value[...] = 0


def test_changed_inputs_are_noticed() -> None:
    x = reals(5, 2, 3).astype("f4")
    y, _ = rnnfast.GRU(3, 4)(rnnfast.tensor(x))
    x[...] = 0
    with pytest.raises(RuntimeError, match="changed"):
        y.sum().backward()


def test_tensors_and_devices_are_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check refusals with a stand-in for a device that has arrays of its own."""

    class Elsewhere:
        rnnfast_device = "elsewhere"
        dtype = np.dtype("float32")

    layer = rnnfast.Linear(3, 4)
    device = type("Backend", (type(layer._backend),), {"name": "elsewhere"})()
    monkeypatch.setattr(backends, "get", lambda _: device)
    with pytest.raises(TypeError, match=r"value: expected an array on the CPU, .*'elsewhere'"):
        rnnfast.tensor(Elsewhere())
    with pytest.raises(TypeError, match=r"operand: expected .* on the CPU, got Elsewhere"):
        rnnfast.tensor(reals(2, 3)) + Elsewhere()
    layer._backend = device
    with pytest.raises(TypeError, match=r"Linear: expected a layer on the CPU, .*'elsewhere'"):
        layer(rnnfast.tensor(reals(2, 3)))
