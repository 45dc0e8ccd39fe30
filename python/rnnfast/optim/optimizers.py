"""Optimisers, with the formulas and defaults of PyTorch's.

An optimiser updates the values of parameters in place from their gradients, on the device of the
parameters; `lr` may be set at any time. For a single group of parameters a step is one pass over
them, including clipping and zeroing.
"""

from __future__ import annotations

from typing import Any, ClassVar

from rnnfast import _core
from rnnfast._engine import checks
from rnnfast.optim.base import Optimizer as Optimizer
from rnnfast.optim.base import described as described
from rnnfast.optim.groups import ParameterGroup, not_negative
from rnnfast.optim.parameters import Groups


class SGD(Optimizer):
    """Stochastic gradient descent: v = momentum v + g, w -= lr v.

    Args:
        parameters: A module, or modules and parameters in a list, of one dtype; or groups of them.
        lr: Learning rate.
        momentum: The fraction of v that each step keeps; 0 for none.
        weight_decay: Factor of the term weight_decay * w that is added to g.
        nesterov: Whether to use g + momentum v in place of v (Sutskever et al. 2013).
    """

    _OPTIONS: ClassVar = {"momentum": not_negative, "nesterov": checks.boolean}
    momentum: float
    nesterov: bool

    def __init__(
        self,
        parameters: Groups,
        lr: float = 1e-3,
        *,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(parameters, lr, weight_decay, momentum=momentum, nesterov=nesterov)

    def _buffers(self, group: ParameterGroup) -> dict[str, float | None]:
        momentum = group.option("momentum")
        if group.option("nesterov") and momentum == 0:
            raise ValueError("nesterov: expected a momentum above 0, got 0")
        return {"velocity": 0.0 if momentum > 0 else None}

    def _update(self, group: ParameterGroup, arrays: Any, care: _core.Care) -> float | None:
        return self._backend.sgd(
            group=arrays,
            care=care,
            lr=group.lr,
            momentum=group.option("momentum"),
            weight_decay=group.option("weight_decay"),
            nesterov=group.option("nesterov"),
        )


class Adagrad(Optimizer):
    """Adagrad (Duchi et al. 2011): s += g^2, w -= lr g / (sqrt(s) + eps).

    Args:
        parameters: A module, or modules and parameters in a list, of one dtype; or groups of them.
        lr: Learning rate.
        lr_decay: Decay of the rate, which is lr / (1 + t lr_decay) at step t (from 0).
        weight_decay: Factor of the term weight_decay * w that is added to g.
        initial_accumulator_value: Value of s before the first step, in all groups.
        eps: Term that keeps the quotient finite.
    """

    _OPTIONS: ClassVar = {"eps": not_negative, "lr_decay": not_negative}
    eps: float
    lr_decay: float

    def __init__(
        self,
        parameters: Groups,
        lr: float = 1e-2,
        *,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
    ) -> None:
        self._start = not_negative("initial_accumulator_value", initial_accumulator_value)
        super().__init__(parameters, lr, weight_decay, eps=eps, lr_decay=lr_decay)

    def _buffers(self, group: ParameterGroup) -> dict[str, float | None]:  # noqa: ARG002
        return {"sum": self._start}

    def _update(self, group: ParameterGroup, arrays: Any, care: _core.Care) -> float | None:
        return self._backend.adagrad(
            group=arrays,
            care=care,
            lr=group.lr / (1 + (self.steps - 1) * group.option("lr_decay")),
            eps=group.option("eps"),
            weight_decay=group.option("weight_decay"),
        )


class RMSprop(Optimizer):
    """RMSprop (Hinton 2012; centered: Graves 2013): w -= lr g / (sqrt(mean of g^2) + eps).

    Args:
        parameters: A module, or modules and parameters in a list, of one dtype; or groups of them.
        lr: Learning rate.
        alpha: The fraction of a running mean that each step keeps.
        eps: Term that keeps the quotient finite.
        weight_decay: Factor of the term weight_decay * w that is added to g.
        momentum: The fraction of the last update that each step keeps; 0 for none.
        centered: Whether to use the variance of g in place of the mean of g^2.
    """

    _OPTIONS: ClassVar = {
        "eps": not_negative,
        "alpha": lambda name, value: checks.number(name, value, 0, 1),
        "momentum": not_negative,
        "centered": checks.boolean,
    }
    eps: float
    alpha: float
    momentum: float
    centered: bool

    def __init__(
        self,
        parameters: Groups,
        lr: float = 1e-2,
        *,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        options = {"eps": eps, "alpha": alpha, "momentum": momentum, "centered": centered}
        super().__init__(parameters, lr, weight_decay, **options)

    def _buffers(self, group: ParameterGroup) -> dict[str, float | None]:
        return {
            "square": 0.0,
            "velocity": 0.0 if group.option("momentum") > 0 else None,
            "mean": 0.0 if group.option("centered") else None,
        }

    def _update(self, group: ParameterGroup, arrays: Any, care: _core.Care) -> float | None:
        return self._backend.rmsprop(
            group=arrays,
            care=care,
            lr=group.lr,
            alpha=group.option("alpha"),
            eps=group.option("eps"),
            momentum=group.option("momentum"),
            weight_decay=group.option("weight_decay"),
        )


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015).

    Args:
        parameters: A module, or modules and parameters in a list, of one dtype; or groups of them.
        lr: Learning rate.
        betas: The fractions of the running means of g and of g^2 that each step keeps.
        eps: Term that keeps the quotient finite.
        weight_decay: Factor of the term weight_decay * w that is added to g.
    """

    _OPTIONS: ClassVar = {"eps": not_negative, "betas": checks.two_fractions}
    _decoupled = False
    eps: float
    betas: tuple[float, float]

    def __init__(
        self,
        parameters: Groups,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, weight_decay, eps=eps, betas=betas)

    def _buffers(self, group: ParameterGroup) -> dict[str, float | None]:  # noqa: ARG002
        return {"mean": 0.0, "square": 0.0}

    def _update(self, group: ParameterGroup, arrays: Any, care: _core.Care) -> float | None:
        betas = group.option("betas")
        return self._backend.adam(
            group=arrays,
            care=care,
            lr=group.lr,
            beta1=betas[0],
            beta2=betas[1],
            eps=group.option("eps"),
            weight_decay=group.option("weight_decay"),
            decoupled=self._decoupled,
            step=self.steps,
        )


class AdamW(Adam):
    """Adam with decoupled weight decay: w *= 1 - lr weight_decay first (Loshchilov, Hutter 2019).

    Takes the arguments of `Adam`.
    """

    _decoupled = True

    def __init__(
        self,
        parameters: Groups,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(parameters, lr, betas=betas, eps=eps, weight_decay=weight_decay)
