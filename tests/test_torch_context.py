"""`context_size=` and `context=` in `rnnfast.torch`: layers and single steps."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch.nn.utils.rnn import pack_padded_sequence, unpack_sequence  # noqa: E402

import rnnfast  # noqa: E402
import rnnfast.torch as fast  # noqa: E402
from torch_cases import CELLS, TWINS, assert_near, flat, gradients  # noqa: E402

# PyTorch warns itself about torch.func, torch.compile and projections.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:LSTM with proj:UserWarning"
)

T, B, I, H, C = 6, 4, 3, 5, 2
by_step = pytest.mark.parametrize("by_step", [False, True])
each_twin = pytest.mark.parametrize("name", TWINS)


def of_class(name: str, suffix: str, *sizes: int, **options: Any) -> Any:
    """Return a layer, or with the suffix "Cell" a cell, of float64 with a context."""
    kind = "RNN" if name == "ReLU" else name
    made = getattr(fast, kind + suffix)(*sizes, **TWINS[name], context_size=C, **options)
    return made.double()


def joined(ours: Any, theirs: Any) -> Any:
    """Return `theirs`, of input size I + C, with the weights of `ours`."""
    values = dict(ours.state_dict())
    for name in [n for n in values if n.startswith("weight_ch")]:
        of_input = name.replace("weight_ch", "weight_ih")
        values[of_input] = torch.cat([values[of_input], values.pop(name)], 1)
    theirs.load_state_dict(values)
    return theirs


def split(found: Any, names: list[str]) -> dict[str, Any]:
    """Return gradients of the joined weights under the names of ours."""
    result = dict(zip(names, found, strict=True))
    for name in names:
        if name.startswith("weight_ih"):
            result[name.replace("weight_ih", "weight_ch")] = result[name][:, I:]
            result[name] = result[name][:, :I]
    return result


def data(*shape: int) -> Any:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()


@each_twin
@pytest.mark.parametrize("batch", [(), (1,), (B,)], ids=str)
def test_steps_are_those_of_a_cell_that_reads_both(name: str, batch: tuple[int, ...]) -> None:
    ours = of_class(name, "Cell", I, H)
    kind = "RNN" if name == "ReLU" else name
    theirs = joined(ours, getattr(torch.nn, f"{kind}Cell")(I + C, H, **TWINS[name]).double())
    x, v = data(T, *batch, I), data(T, *batch, C)

    def loop(step: Any) -> Any:
        state = None
        for t in range(T):
            state = step(t, state)
        return state

    got = loop(lambda t, s: ours(x[t], s, v[t]))
    expected = loop(lambda t, s: theirs(torch.cat([x[t], v[t]], -1), s))
    assert_near(got, expected)
    weights = dict(ours.named_parameters())
    (*inputs,) = gradients(got, [x, v, *weights.values()])
    names = [n for n, _ in theirs.named_parameters()]
    of_x, of_v, *others = gradients(expected, [x, v, *theirs.parameters()])
    of_weights = split(others, names)
    assert_near(inputs, [of_x, of_v, *(of_weights[n] for n in weights)])
    with torch.no_grad():
        plain = loop(lambda t, s: ours(x[t], s, context=v[t]))
    assert all(map(torch.equal, flat(plain), flat(got)))


@pytest.mark.parametrize("cell", [*CELLS, "janet"])
def test_gradients_of_steps_and_their_gradients(cell: str) -> None:
    torch.manual_seed(0)
    step = fast.RecurrentCell(cell, 2, 3, context_size=C).double()
    x, v, names = data(3, 2, 2), data(2, C), [n for n, _ in step.named_parameters()]

    def loop(x: Any, v: Any, *weights: Any) -> tuple[Any, ...]:
        state, named = None, dict(zip(names, weights, strict=True))
        for row in x:
            state = torch.func.functional_call(step, named, (row, state, v))
        return tuple(flat(state))

    tensors = [x, v, *(w.detach().requires_grad_() for w in step.parameters())]
    assert torch.autograd.gradcheck(loop, tensors, fast_mode=True)
    assert torch.autograd.gradgradcheck(loop, tensors, fast_mode=True)
    by_engine = gradients(loop(*tensors), tensors)
    with torch.autograd.forward_ad.dual_level():
        assert_near(gradients(loop(*tensors), tensors), by_engine)


@pytest.mark.parametrize("cell", CELLS)
def test_steps_have_the_values_of_layers(cell: str) -> None:
    layer = fast.Recurrent(cell, I, H, context_size=C).double()
    step = fast.RecurrentCell(cell, I, H, context_size=C).double()
    step.load_state_dict({n.removesuffix("_l0"): w for n, w in layer.state_dict().items()})
    x, v = data(T, B, I), data(B, C)
    y, final = layer(x, context=v)
    state = None
    for t in range(T):
        state = step(x[t], state, v)
    assert_near(state, [s[0] for s in flat(final)])
    assert torch.equal(y[-1], flat(state)[0])


@each_twin
@by_step
def test_layers_are_those_that_read_both(name: str, by_step: bool) -> None:
    ours = of_class(name, "", I, H, bidirectional=True)
    kind = "RNN" if name == "ReLU" else name
    theirs = getattr(torch.nn, kind)(I + C, H, bidirectional=True, **TWINS[name]).double()
    joined(ours, theirs)
    x, v = data(T, B, I), data(T, B, C) if by_step else data(B, C)
    got = ours(x, context=v)
    expected = theirs(torch.cat([x, v.expand(T, B, C)], -1))
    assert_near(got, expected)
    weights = dict(ours.named_parameters())
    names = [n for n, _ in theirs.named_parameters()]
    of_x, of_v, *others = gradients(expected, [x, v, *theirs.parameters()])
    of_weights = split(others, names)
    wanted = [of_x, of_v, *(of_weights[n] for n in weights)]
    assert_near(gradients(got, [x, v, *weights.values()]), wanted)


@pytest.mark.parametrize("form", ["time first", "batch first", "no batch", "packed"])
@by_step
def test_forms_of_the_input(form: str, by_step: bool) -> None:
    """Every form gives the values of the layer without PyTorch."""
    layer = fast.LSTM(
        I, H, 2, bidirectional=True, batch_first=form == "batch first", context_size=C
    )
    layer.double()
    of_numpy = rnnfast.LSTM(I, H, 2, bidirectional=True, dtype="float64", context_size=C).eval()
    rnnfast.load_torch_state_dict(of_numpy, layer.state_dict())
    x, v = data(T, B, I).detach(), (data(T, B, C) if by_step else data(B, C)).detach()
    lengths = torch.tensor([4, 6, 2, 5]) if form == "packed" else None
    y, final = of_numpy(x.numpy(), None, lengths, context=v.numpy())
    expected = [torch.from_numpy(a) for a in (y, *final)]
    if form == "batch first":
        got, state = layer(x.transpose(0, 1), context=v.transpose(0, 1) if by_step else v)
        got = got.transpose(0, 1)
    elif form == "no batch":
        got, state = layer(x[:, 0], context=v[..., 0, :])
        expected = [a[:, 0] for a in expected]
    elif form == "packed":
        packed = pack_padded_sequence(x, lengths, False, False)
        given = pack_padded_sequence(v, lengths, False, False) if by_step else v
        got, state = layer(packed, context=given)
        for b, one in enumerate(unpack_sequence(got)):
            assert_near(one, expected[0][: len(one), b])
        got = expected[0]
    else:
        got, state = layer(x, context=v)
    assert_near([got, *state], expected)


@pytest.mark.parametrize("options", [{}, {"return_all_states": True}], ids=str)
@by_step
def test_gradients_of_layers_and_their_gradients(options: dict[str, Any], by_step: bool) -> None:
    torch.manual_seed(0)
    layer = fast.LSTM(
        2, 3, 2, bidirectional=True, learn_state=True, zoneout=0.3, recurrent_dropout=0.4,
        context_size=C,
    ).double()  # fmt: skip
    x, v = data(3, 2, 2), data(3, 2, C) if by_step else data(2, C)
    reset = torch.tensor([[0, 1], [1, 0], [0, 0]])
    names, weights = zip(*layer.named_parameters(), strict=True)

    def call(x: Any, v: Any, *weights: Any) -> tuple[Any, ...]:
        torch.manual_seed(5)
        named = dict(zip(names, weights, strict=True))
        given = {"reset": reset, "context": v, **options}
        return tuple(flat(torch.func.functional_call(layer, named, (x,), given)))

    tensors = [x, v, *(w.detach().requires_grad_() for w in weights)]
    assert torch.autograd.gradcheck(call, tensors, fast_mode=True)
    assert torch.autograd.gradgradcheck(call, tensors, fast_mode=True)


@by_step
def test_both_paths_compute_the_same(by_step: bool) -> None:
    """The engine agrees with the step-by-step path in PyTorch operations."""
    layer = fast.Recurrent("gru_reset_before", I, H, 2, bidirectional=True, context_size=C).double()
    x, v = data(T, B, I), data(T, B, C) if by_step else data(B, C)
    wanted = [x, v, *layer.parameters()]
    with torch.autograd.forward_ad.dual_level():
        by_steps = layer(x, context=v)
    by_engine = layer(x, context=v)
    assert_near(by_engine, by_steps)
    assert_near(gradients(by_engine, wanted), gradients(by_steps, wanted))


@pytest.mark.parametrize("kind", ["layer", "cell"])
def test_compiled_modules_give_the_same_bits(kind: str) -> None:
    torch._dynamo.reset()
    is_cell = kind == "cell"
    module: Any = (fast.LSTMCell if is_cell else fast.LSTM)(I, H, context_size=C)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    x, v = (data(*s).detach().float().requires_grad_() for s in ((T, B, I), (B, C)))
    given = x[0].detach().requires_grad_() if is_cell else x
    expected, got = (flat(m(given, context=v)) for m in (module, compiled))
    wanted = [given, v, *module.parameters()]
    assert_near(got, expected)
    assert_near(gradients(got, wanted), gradients(expected, wanted))
    torch._dynamo.reset()


@pytest.mark.parametrize("kind", ["layer", "cell"])
def test_bfloat16_and_autocast(kind: str) -> None:
    is_cell = kind == "cell"
    module: Any = (fast.GRUCell if is_cell else fast.GRU)(I, H, context_size=C)
    x, v = (data(*s).detach().float() for s in ((T, B, I), (B, C)))
    x = x[0] if is_cell else x
    exact = flat(module(x, context=v))[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = flat(module(x, context=v))[0]
    low = flat(module.bfloat16()(x.bfloat16(), context=v.bfloat16()))[0]
    for got in (cast, low):
        assert got.dtype == torch.bfloat16
        torch.testing.assert_close(got.float(), exact, rtol=0, atol=0.02)


def test_prepacked_weights_and_copies() -> None:
    layer = fast.LSTM(I, H, context_size=C).double().eval()
    cell = fast.LSTMCell(I, H, context_size=C).double()
    x, v = data(T, B, I), data(B, C)
    expected = layer(x, context=v)[0], *cell(x[0], context=v)
    fast.prepack(layer)
    with torch.no_grad():
        assert torch.equal(layer(x, context=v)[0], expected[0])
    for make in (copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))):
        of_layer, of_cell = make(layer), make(cell)
        got = of_layer(x, context=v)[0], *of_cell(x[0], context=v)
        assert all(map(torch.equal, got, expected))
    assert repr(layer) == "rnnfast LSTM(3, 5, context_size=2)"
    assert repr(cell) == "rnnfast LSTMCell(3, 5, context_size=2)"
    again = fast.LSTMCell(I, H, context_size=C).double()
    again.load_state_dict(cell.state_dict())
    assert torch.equal(again(x[0], context=v)[0], expected[1])


def test_modules_with_a_context_are_not_restored_to_torch() -> None:
    model = torch.nn.ModuleList(
        [fast.LSTM(I, H, context_size=C), fast.GRUCell(I, H, context_size=C), fast.GRU(I, H)]
    )
    layer, cell, plain = fast.restore(model)
    assert isinstance(layer, fast.LSTM)
    assert isinstance(cell, fast.GRUCell)
    assert type(plain) is torch.nn.GRU


def test_other_weights_are_drawn_as_without_a_context() -> None:
    for kind, sizes in (("LSTM", (I, H, 2)), ("GRUCell", (I, H)), ("RNN", (I, H))):
        torch.manual_seed(3)
        plain = getattr(fast, kind)(*sizes).state_dict()
        torch.manual_seed(3)
        values = getattr(fast, kind)(*sizes, context_size=C).state_dict()
        assert all(torch.equal(values[name], value) for name, value in plain.items())
        drawn = [values[name] for name in values if name.startswith("weight_ch")]
        assert len(drawn) == len(plain) // 4
        assert all(0 < w.abs().max() <= H**-0.5 for w in drawn)


def test_a_wrong_context_is_named() -> None:
    layer, cell = fast.LSTM(I, H, context_size=C), fast.LSTMCell(I, H, context_size=C)
    x, v = torch.zeros(T, B, I), torch.zeros(B, C)
    packed = pack_padded_sequence(x, torch.tensor([6, 5, 3, 1]))
    other = pack_padded_sequence(torch.zeros(T, B, C), torch.tensor([6, 5, 3, 2]))
    for module, given, context, error, message in (
        (
            layer,
            x,
            None,
            ValueError,
            r"context: expected shape \(4, 2\) or \(6, 4, 2\), as .* None",
        ),
        (layer, x, v.T, ValueError, r"context: .*\(4, 2\) or \(6, 4, 2\), got \(2, 4\)"),
        (layer, x, v.double(), TypeError, "context: expected torch.float32 on cpu, .*float64"),
        (layer, x, v.tolist(), TypeError, "context: expected a tensor, got list"),
        (layer, packed, other, TypeError, "context: expected a tensor, got PackedSequence"),
        (layer, packed, v[:2], ValueError, r"context: expected shape \(4, 2\), got \(2, 2\)"),
        (cell, x[0], None, ValueError, r"context: expected shape \(4, 2\), as the module has"),
        (cell, x[0], v[0], ValueError, r"context: expected shape \(4, 2\), got \(2,\)"),
        (fast.GRU(I, H), x, v, ValueError, "context: expected None, as the module has context_"),
        (fast.GRUCell(I, H), x[0], v, ValueError, "context: expected None, as the module has cont"),
        (fast.GRU(I, H), x.half(), v, ValueError, "context: expected None, as the module has"),
        (layer, x.half(), v, TypeError, "input: expected torch.float32, like the weights"),
        (cell, x[0].half(), v, TypeError, "input: expected torch.float32, as the weights are"),
    ):
        with pytest.raises(error, match=message):
            module(given, context=context)
    with pytest.raises(ValueError, match="context_size: expected at least 0, got -1"):
        fast.LSTMCell(I, H, context_size=-1)


class Model(torch.nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.lstm = fast.LSTM(I, H, 2, bidirectional=True, context_size=C, **options).double()

    def forward(self, x: Any, context: Any, by_position: bool = False) -> Any:
        if by_position:
            return self.lstm(x, None, False, None, context)[0]
        return self.lstm(x, context=context)[0]


@pytest.mark.parametrize("form", ["time first", "batch first", "no batch", "packed"])
@by_step
def test_traces_of_layers_with_a_context(form: str, by_step: bool) -> None:
    model = Model(batch_first=form == "batch first")
    x, v = data(T, B, I).detach(), (data(T, B, C) if by_step else data(B, C)).detach()
    lengths = torch.tensor([4, 6, 2, 5]) if form == "packed" else None
    of_numpy = rnnfast.LSTM(I, H, 2, bidirectional=True, dtype="float64", context_size=C)
    rnnfast.load_torch_state_dict(of_numpy, model.lstm.state_dict())
    expected = rnnfast.trace(of_numpy, x.numpy(), lengths=lengths, context=v.numpy())
    given: Any = x, v
    if form == "batch first":
        given = x.transpose(0, 1), v.transpose(0, 1) if by_step else v
    elif form == "no batch":
        given = x[:, 0], v[..., 0, :]
    elif form == "packed":
        packed = [pack_padded_sequence(a, lengths, False, False) for a in (x, v) if a.dim() == 3]
        given = packed[0], packed[1] if by_step else v
    states = rnnfast.trace(model, *given, form == "time first")
    for layer in ("l0", "l1_reverse"):
        for name in ("h", "c", "f"):
            wanted = expected[layer][name][:, :1] if form == "no batch" else expected[layer][name]
            got = states[f"lstm.{layer}"][name]
            torch.testing.assert_close(torch.from_numpy(got), torch.from_numpy(wanted))


def test_traces_name_a_wrong_context() -> None:
    with pytest.raises(ValueError, match=r"context: expected shape \(4, 2\) or .*, got \(2, 4\)"):
        rnnfast.trace(Model(), data(T, B, I).detach(), torch.zeros(C, B).double())
    with pytest.raises(ValueError, match="context: expected None for a PyTorch model"):
        rnnfast.trace(Model(), data(T, B, I).detach(), context=torch.zeros(B, C).double())
