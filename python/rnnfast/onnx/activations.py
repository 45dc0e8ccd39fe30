"""The activation functions of ONNX's recurrent operators, on values of the reference's tape.

Sigmoid, Tanh and Relu are those of the reference; the others are defined here, without gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from rnnfast._engine import checks
from rnnfast.reference.tape import Activation, Array, Var, relu, sigmoid, tanh


class _Function(NamedTuple):
    """A function of x and of its parameters, which may be alpha and beta.

    `defaults` are those of ONNX's operator of the same name. A parameter has the default None if
    there is no such operator or if runtimes disagree with it: the file must then contain a value.
    The beta of Affine is 0 by default, as converters write linear functions without it.
    """

    of: Callable[..., Array]
    defaults: tuple[float | None, ...] = ()


FUNCTIONS = {
    "Relu": _Function(lambda x: relu(Var(x)).value),
    "Tanh": _Function(lambda x: tanh(Var(x)).value),
    "Sigmoid": _Function(lambda x: sigmoid(Var(x)).value),
    "Affine": _Function(lambda x, alpha, beta: alpha * x + beta, (None, 0.0)),
    "LeakyRelu": _Function(lambda x, alpha: np.where(x >= 0, x, alpha * x), (0.01,)),
    "ThresholdedRelu": _Function(lambda x, alpha: np.where(x >= alpha, x, 0.0), (None,)),
    "ScaledTanh": _Function(lambda x, alpha, beta: alpha * np.tanh(beta * x), (None, None)),
    "HardSigmoid": _Function(lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1), (0.2, 0.5)),
    "Elu": _Function(
        lambda x, alpha: np.where(x >= 0, x, alpha * np.expm1(np.minimum(x, 0))), (1.0,)
    ),
    "Softsign": _Function(lambda x: x / (1 + np.abs(x))),
    "Softplus": _Function(lambda x: np.logaddexp(x, 0)),
}
_BY_LOWER_CASE = {name.lower(): name for name in FUNCTIONS}


class Scaled(NamedTuple):
    """An activation function with the values of its parameters."""

    name: str
    parameters: tuple[float, ...] = ()

    def on_tape(self, clip: float | None) -> Activation:
        """Return the function, with its argument clipped to [-clip, clip] if `clip` is given."""
        function = FUNCTIONS[self.name].of

        def activation(v: Var) -> Var:
            x = v.value if clip is None else np.clip(v.value, -clip, clip)
            return Var(function(x, *self.parameters))

        return activation


def read(
    label: str, names: Sequence[str], alphas: Sequence[float], betas: Sequence[float]
) -> list[Scaled]:
    """Return the functions that a node names.

    Args:
        label: The node, for messages.
        names: The attribute `activations`; case does not matter.
        alphas: `activation_alpha`: one for each function that has an alpha, in their order. If
            there are fewer, the remaining functions use their defaults.
        betas: `activation_beta`, in the same way.

    Raises:
        ValueError: A function is unknown or lacks a parameter that it needs, or there are more
            parameters than the functions take.
    """
    left = {"activation_alpha": list(alphas), "activation_beta": list(betas)}
    result = []
    for given in names:
        name = _BY_LOWER_CASE.get(given.lower(), given)
        checks.choice(f"{label}: attribute activations", name, FUNCTIONS)
        parameters = []
        for (attribute, values), default in zip(
            left.items(), FUNCTIONS[name].defaults, strict=False
        ):
            value = values.pop(0) if values else default
            if value is None:
                raise ValueError(
                    f"{label}: attribute {attribute}: expected a value for {name}, which has no "
                    "default, got none"
                )
            parameters.append(value)
        result.append(Scaled(name, tuple(parameters)))
    for attribute, values in left.items():
        if values:
            raise ValueError(
                f"{label}: attribute {attribute}: expected one value for each function that has "
                f"this parameter, got {len(values)} more than the functions {', '.join(names)} have"
            )
    return result
