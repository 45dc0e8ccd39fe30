"""`reset=` in `rnnfast.torch`, compared with PyTorch's layers called episode by episode."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence  # noqa: E402

import rnnfast  # noqa: E402
import rnnfast.torch as fast  # noqa: E402
from torch_cases import TWINS, assert_near, flat, gradients, twins  # noqa: E402

# PyTorch warns itself about torch.func, torch.compile and projections.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:LSTM with proj:UserWarning"
)

T, B, I, H = 7, 4, 3, 5
NOISE: dict[str, Any] = {"zoneout": 0.3, "input_dropout": 0.2, "recurrent_dropout": 0.4}


def data(*shape: int) -> tuple[Any, Any]:
    """Return an input (..., I) of float64 and resets (...)."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(*shape, I, dtype=torch.float64, generator=generator)
    return x.requires_grad_(), torch.rand(shape, generator=generator) < 0.3


def learned(layer: Any) -> list[Any]:
    """Return the parameters of the initial states, after giving them values."""
    found = [p for name, p in layer.named_parameters() if name.startswith("initial_state_")]
    for parameter in found:
        torch.nn.init.normal_(parameter)
    return found


def by_episodes(layer: Any, x: Any, reset: Any, hx: Any, start: Any) -> tuple[Any, ...]:
    """Return y and the final states of a layer of one direction for x (T, B, I), cut at resets.

    Args:
        layer: A layer of PyTorch.
        x: (T, B, I).
        reset: (T, B).
        hx: A list of the given states, (L, B, H) each.
        start: A list of the states that resets set, (L, H) each.
    """
    ys, finals = [], []
    for b in range(x.shape[1]):
        cuts = [0, *(t for t in range(1, len(x)) if reset[t, b]), len(x)]
        state = [
            (s[:, None] if reset[0, b] else h[:, b : b + 1]) for h, s in zip(hx, start, strict=True)
        ]
        parts = []
        for first, end in itertools.pairwise(cuts):
            given = tuple(s.contiguous() for s in state)
            y, final = layer(x[first:end, b : b + 1], given if len(given) > 1 else given[0])
            parts.append(y)
            state = [s[:, None] for s in start]
        ys.append(torch.cat(parts))
        finals.append(flat(final))
    return torch.cat(ys, 1), *(torch.cat(of_state, 1) for of_state in zip(*finals, strict=True))


@pytest.mark.parametrize("learn", [False, True])
@pytest.mark.parametrize("name", [*TWINS, "projected"])
def test_values_and_gradients_are_those_of_calls_by_episodes(name: str, learn: bool) -> None:
    own = {"proj_size": 2} if name == "projected" else {}
    name = "LSTM" if own else name
    theirs, plain = twins(name, I, H, 2, **own)
    kind = name if name != "ReLU" else "RNN"
    ours = getattr(fast, kind)(I, H, 2, **own, **TWINS[name], learn_state=learn).double()
    ours.load_state_dict(plain.state_dict() | ours.state_dict() | dict(plain.state_dict()))
    x, reset = data(T, B)
    widths = ours._widths()
    hx = [torch.randn(2, B, w, dtype=torch.float64, requires_grad=True) for w in widths]
    start = learned(ours) if learn else [torch.zeros(2, w, dtype=torch.float64) for w in widths]
    got = flat(ours(x, tuple(hx) if len(hx) > 1 else hx[0], reset=reset))
    expected = by_episodes(theirs, x, reset, hx, start)
    assert_near(got, expected)
    names = [n for n, _ in theirs.named_parameters()]
    weights = [dict(ours.named_parameters())[n] for n in names]
    others = [x, *hx, *(start if learn else [])]
    found = gradients(got, [*others, *weights])
    assert_near(found, gradients(expected, [*others, *theirs.parameters()]))


@pytest.mark.parametrize("form", ["time first", "batch first", "no batch", "packed"])
def test_forms_of_the_input(form: str) -> None:
    """Every form gives the bits of the layer without PyTorch."""
    layer = fast.LSTM(
        I, H, 2, bidirectional=True, learn_state=True, batch_first=form == "batch first"
    ).double()
    learned(layer)
    of_numpy = rnnfast.LSTM(I, H, 2, bidirectional=True, learn_state=True, dtype="float64").eval()
    rnnfast.load_torch_state_dict(of_numpy, layer.state_dict())
    x, reset = data(T, B)
    lengths = torch.tensor([4, 7, 2, 6]) if form == "packed" else None
    y, final = of_numpy(x.detach().numpy(), None, lengths, reset.numpy())
    if form == "batch first":
        got, state = layer(x.transpose(0, 1), reset=reset.T.contiguous().int())
        got = got.transpose(0, 1)
    elif form == "no batch":
        got, state = layer(x[:, 0], reset=reset[:, 0])
        y, final = y[:, 0], tuple(s[:, 0] for s in final)
    elif form == "packed":
        packed, starts = (pack_padded_sequence(v, lengths, False, False) for v in (x, reset))
        got, state = layer(packed, reset=starts)
        for b, one in enumerate(torch.nn.utils.rnn.unpack_sequence(got)):
            assert torch.equal(one, torch.from_numpy(y[: len(one), b]))
    else:
        got, state = layer(x, reset=reset)
    if form != "packed":
        assert torch.equal(got, torch.from_numpy(y))
    for one, other in zip(state, final, strict=True):
        assert torch.equal(one, torch.from_numpy(other))


@pytest.mark.parametrize(
    ("cell", "options"), [("lstm", {"return_all_states": True}), ("gru", {}), ("janet", {})]
)
def test_gradients_and_their_gradients(cell: str, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    layer = fast.Recurrent(cell, 2, 3, bidirectional=True, learn_state=True, **NOISE).double()
    learned(layer)
    x, reset = torch.randn(3, 2, 2).double().requires_grad_(), torch.rand(3, 2) < 0.4
    reset[1, 0] = True
    names, weights = zip(*layer.named_parameters(), strict=True)

    def call(x: Any, *weights: Any) -> tuple[Any, ...]:
        torch.manual_seed(5)
        named = dict(zip(names, weights, strict=True))
        results = torch.func.functional_call(layer, named, (x,), {"reset": reset, **options})
        return tuple(r for r in flat(results) if r.is_floating_point())

    tensors = [x, *(w.detach().requires_grad_() for w in weights)]
    assert torch.autograd.gradcheck(call, tensors, fast_mode=True)
    assert torch.autograd.gradgradcheck(call, tensors, fast_mode=True)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("lengths", [False, True])
def test_both_paths_compute_the_same(bidirectional: bool, lengths: bool) -> None:
    """The engine agrees with the step-by-step path in PyTorch operations."""
    layer = fast.GRU(I, H, 2, bidirectional=bidirectional, learn_state=True).double()
    x, reset = data(T, B)
    wanted = [x, *learned(layer), *flat(layer.all_weights)]

    def call() -> Any:
        if not lengths:
            return layer(x, reset=reset)
        of_lengths = torch.tensor([7, 5, 3, 1])
        return layer(
            pack_padded_sequence(x, of_lengths), reset=pack_padded_sequence(reset, of_lengths)
        )

    with torch.autograd.forward_ad.dual_level():
        by_steps = call()
    by_engine = call()
    assert_near(by_engine, by_steps)
    assert_near(gradients(by_engine, wanted), gradients(by_steps, wanted))


def test_compiled_layers_give_the_same_bits() -> None:
    torch._dynamo.reset()
    layer = fast.LSTM(I, H, 2, learn_state=True)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x, reset = torch.randn(T, B, I, requires_grad=True), torch.rand(T, B) < 0.3
    wanted = [x, *learned(layer), *flat(layer.all_weights)]
    expected, got = flat(layer(x, reset=reset)), flat(compiled(x, reset=reset))
    assert all(map(torch.equal, got, expected))
    assert all(map(torch.equal, gradients(got, wanted), gradients(expected, wanted)))
    with pytest.raises(ValueError, match="reset: expected booleans, or integers 0 and 1, got"):
        compiled(x, reset=reset.int() * 2)
    torch._dynamo.reset()


def test_bfloat16_and_prepacked_weights() -> None:
    layer = fast.LSTM(I, H, learn_state=True).bfloat16()
    learned(layer)
    x, reset = data(T, B)
    low = x.detach().bfloat16()
    y, _ = layer(low, reset=reset)
    assert y.dtype == torch.bfloat16
    for b in range(B):
        cuts = [0, *(t for t in range(1, T) if reset[t, b]), T]
        for first, end in itertools.pairwise(cuts):
            alone, _ = layer(low[first:end, b : b + 1])
            assert torch.equal(y[first:end, b : b + 1], alone)
    plain = fast.GRU(I, H).double().eval()
    expected, _ = plain(x, reset=reset)
    fast.prepack(plain)
    with torch.no_grad():
        assert torch.equal(plain(x, reset=reset)[0], expected)


def test_a_wrong_mask_is_named() -> None:
    layer = fast.LSTM(I, H).double()
    x, reset = data(T, B)
    packed = pack_padded_sequence(x, torch.tensor([7, 5, 3, 1]))
    other = pack_padded_sequence(reset, torch.tensor([7, 5, 3, 2]))
    for given, mask, error, message in (
        (x, reset.double(), TypeError, "reset: expected a dense tensor of torch.bool on the CPU"),
        (x, reset.int() * 2, ValueError, "reset: expected booleans, or integers 0 and 1, got val"),
        (x, reset.T, ValueError, r"reset: expected a tensor of the .*, \(7, 4\), got \(4, 7\)"),
        (x, reset.tolist(), ValueError, r"reset: expected a tensor of the .*, \(7, 4\), got list"),
        (x, other, ValueError, r"reset: expected a tensor of the .*, got PackedSequence"),
        (packed, reset, ValueError, "reset: expected a PackedSequence of the lengths .*Tensor"),
        (packed, other, ValueError, "reset: expected a PackedSequence of the lengths .*Packed"),
        (x.half(), reset, ValueError, "reset: expected None for what PyTorch computes"),
    ):
        with pytest.raises(error, match=message):
            layer(given, reset=mask)
    assert isinstance(layer(packed, reset=packed_like(reset))[0], PackedSequence)


def test_traces_refuse_resets() -> None:
    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = fast.LSTM(I, H)

        def forward(self, x: Any) -> Any:
            return self.lstm(x, reset=torch.ones(x.shape[:2], dtype=torch.bool))

    with pytest.raises(ValueError, match="reset: expected None, as traced sequences have no rese"):
        rnnfast.trace(Model(), torch.zeros(2, 1, I))


def packed_like(reset: Any) -> Any:
    return pack_padded_sequence(reset, torch.tensor([7, 5, 3, 1]))
