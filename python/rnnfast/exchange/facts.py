"""Facts about a layer that its arrays do not tell, and the cell that follows from them.

A file's configuration or the caller states them; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypedDict, cast

from rnnfast._engine import checks
from rnnfast.exchange import cells
from rnnfast.exchange.convention import Convention
from rnnfast.reference import CELLS, Cell, gru, gru_reset_before, lstm, rnn
from rnnfast.reference.tape import (
    Activation,
    Var,
    hard_sigmoid,
    maximum,
    minimum,
    relu,
    sigmoid,
    softplus,
    tanh,
    where,
)


class Facts(TypedDict, total=False):
    """What the arrays of a layer do not tell.

    Attributes:
        gate_activation: The function of the gates, a key of `ACTIVATIONS`.
        activation: The function of the candidate, and of c' in an LSTM.
        output_activation: The function of c' in an LSTM, if it is another than `activation`.
        forget_offset: What every step adds to the argument of the forget gate, and the arrays do
            not contain; many sources call it forget_bias.
        reset_after: Whether a GRU resets after the product with the recurrent matrix.
        update_gate: Whether z = 1 of a GRU "keeps" the old state or "replaces" it.
        cell_clip: The bound of |c| in an LSTM; 0 for none.
        coupled: Whether an LSTM has f = 1 - i.
        initial_state: "zeros", the only state that a layer can start from; the first step of
            Chainer's StatefulGRU without a state leaves out the biases of U.
        bidirectional: Whether layers have two directions, where sizes do not tell.
        reversed_input: Whether the caller passes reversed sequences to the layer, as a network that
            goes backwards needs them.
    """

    gate_activation: str
    activation: str
    output_activation: str
    forget_offset: float
    reset_after: bool
    update_gate: str
    cell_clip: float
    coupled: bool
    initial_state: str
    bidirectional: bool
    reversed_input: bool


def _linear(v: Var) -> Var:
    return v


def _softsign(v: Var) -> Var:
    return v / (1 + abs(v))


def _hard_sigmoid_of_6(v: Var) -> Var:
    """Return clip(v / 6 + 0.5, 0, 1)."""
    return minimum(maximum(v / 6 + 0.5, 0.0), 1.0)


def _elu(v: Var) -> Var:
    return where(v > 0, v, _expm1(minimum(v, 0.0)))


def _expm1(v: Var) -> Var:
    """Return exp(v) - 1 for v <= 0, which tanh computes without loss of digits."""
    half = tanh(v / 2)
    return 2 * half / (1 - half)


ACTIVATIONS: dict[str, Activation] = {
    "sigmoid": sigmoid,
    "tanh": tanh,
    "relu": relu,
    "linear": _linear,
    "hard_sigmoid_keras2": hard_sigmoid,
    "hard_sigmoid_keras3": _hard_sigmoid_of_6,
    "softsign": _softsign,
    "softplus": softplus,
    "elu": _elu,
}
"""The functions of gates and candidates: hard_sigmoid is clip(0.2 x + 0.5, 0, 1) in Keras 1 and 2,
and clip(x / 6 + 0.5, 0, 1) in Keras 3, as in PyTorch."""

_GATES = ("sigmoid", "hard_sigmoid_keras2", "hard_sigmoid_keras3")
_CHOICES: dict[str, str] = {
    "gate_activation": f"{', '.join(map(repr, _GATES))}: hard_sigmoid was the default of Keras 1 "
    "and of layers of Keras 2 before TensorFlow 2",
    "activation": "'tanh', the usual default, 'relu' or another",
    "forget_offset": "1.0, the usual default of forget_bias, or the value that the model was made "
    "with",
    "reset_after": "True or False",
    "update_gate": "'keeps' for h' = z h + (1 - z) n, or 'replaces' for h' = (1 - z) h + z n",
    "cell_clip": "0 for none, 3.0 for the operator BlockLSTM, or the value that the model was made "
    "with",
    "initial_state": "'zeros' for a StatelessGRU that starts from them; a StatefulGRU without a "
    "state leaves out the biases of U in its first step, which no layer does",
    "bidirectional": "True or False",
    "reversed_input": "True, and pass x[::-1] to the layer: its y is reversed, too",
}
_FLAGS = ("reset_after", "coupled", "bidirectional", "reversed_input")
_WORDS = {"update_gate": ("keeps", "replaces"), "initial_state": ("zeros",)}
_NUMBERS = ("forget_offset", "cell_clip")


def checked(facts: Mapping[str, Any]) -> Facts:
    """Return facts that a caller stated, without those that are None.

    Raises:
        TypeError: There is no such fact, or a value has the wrong type.
        ValueError: A value is unknown.
    """
    names = Facts.__annotations__
    for name, value in facts.items():
        if name not in names:
            raise TypeError(f"{name}: expected one of the facts {', '.join(names)}")
        if value is None:
            continue
        if name in _FLAGS:
            checks.boolean(name, value)
        elif name in _NUMBERS:
            checks.number(name, value, 0 if name == "cell_clip" else float("-inf"))
        else:
            checks.choice(name, value, _WORDS.get(name, tuple(ACTIVATIONS)))
    return merged({name: value for name, value in facts.items() if value is not None})


def merged(*facts: Mapping[str, Any]) -> Facts:
    """Return all of some facts; the last that state one win."""
    result: dict[str, Any] = {}
    for some in facts:
        result |= some
    return cast(Facts, result)


def ask(place: str, why: str, *names: str) -> ValueError:
    """Return the error that asks the caller for facts, with their choices."""
    asked = "; ".join(f"{name}= {_CHOICES[name]}" for name in names)
    return ValueError(f"{place}: {why}: pass {asked}")


def missing_in(row: Convention, facts: Facts) -> list[str]:
    """Return the facts that a row of the table asks for and nobody stated."""
    return [name for name in row.asks if name not in facts]


def cell_of(cell: str, facts: Facts) -> str | Cell:
    """Return a cell with the activations, the clip and the coupling of a source's layer.

    Args:
        cell: The cell that computes the layer apart from these.
        facts: What is not said is the usual: sigmoid and tanh, no clip, no coupling.

    Returns:
        The name of a cell with kernels, or a cell to trace.
    """
    if cell in ("rnn_tanh", "rnn_relu"):
        name = facts.get("activation", cell.removeprefix("rnn_"))
        if name in ("tanh", "relu"):
            return f"rnn_{name}"
        return replace(
            CELLS["rnn_tanh"],
            name=f"rnn_{name}",
            step=partial(rnn.step, activation=ACTIVATIONS[name]),
        )
    gate, other = facts.get("gate_activation", "sigmoid"), facts.get("activation", "tanh")
    output = facts.get("output_activation", other)
    clip, coupled = facts.get("cell_clip", 0) or None, facts.get("coupled", False)
    of_state = output, clip, coupled
    if (gate, other, *of_state) == ("sigmoid", "tanh", "tanh", None, False):
        return cells.CELLS.get(cell, cell)
    if cell in cells.CELLS:
        raise ValueError(
            f"activation, cell_clip, coupled: expected none of these facts, as {cell} has no other "
            "form"
        )
    functions = ACTIVATIONS[gate], ACTIVATIONS[other]
    unusual = dict.fromkeys(n for n in (gate, other, output) if n not in ("sigmoid", "tanh"))
    name = "_".join([cell, *unusual, *["clipped"][: clip is not None]])
    if cell in ("gru", "gru_reset_before"):
        step = {"gru": gru, "gru_reset_before": gru_reset_before}[cell].step
        return replace(CELLS[cell], name=name, step=partial(step, activations=functions))
    if cell == "lstm" and (other, *of_state) == ("tanh", "tanh", None, False):
        return replace(CELLS[cell], name=name, step=partial(lstm.step, gate=functions[0]))
    if coupled:
        if (gate, other, *of_state[:2]) != ("sigmoid", "tanh", "tanh", None):
            raise ValueError(
                "coupled: expected False for an LSTM with other functions or a clip, got True"
            )
        return "lstm_cifg"
    activations = (*functions, ACTIVATIONS[output])
    step_peephole = partial(lstm.step_peephole, activations=activations, clip=clip)
    return replace(CELLS["peephole_lstm"], name=name, step=step_peephole)
