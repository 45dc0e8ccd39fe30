"""Optimisers, with the formulas and defaults of PyTorch's.

They compute where the parameters are. An optimiser updates the values of parameters in place from
their gradients; `lr` may be set at any time. One pass a step goes over all parameters, clipping and
zeroing included.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rnnfast import _core
from rnnfast._engine import checks
from rnnfast._engine.checks import RealArray
from rnnfast.optim.parameters import Parameters, listed


class Optimizer:
    """Base of the optimisers.

    Attributes:
        parameters: What is optimised.
        weight_decay: As given.
        steps: Number of steps made.
    """

    def __init__(self, parameters: Parameters, lr: float, weight_decay: float) -> None:
        self.parameters, self._on = listed(parameters)
        self.lr = lr
        self.weight_decay = checks.finite("weight_decay", weight_decay, 0)
        self.steps = 0
        self._buffers: dict[str, list[RealArray]] = {}
        self._lists = [[p.grad for p in self.parameters], [p.value for p in self.parameters]]
        self._made_group: Any = None

    @property
    def lr(self) -> float:
        """Learning rate, which may be set at any time: a finite number of at least 0."""
        return self._lr

    @lr.setter
    def lr(self, lr: float) -> None:
        self._lr = checks.finite("lr", lr, 0)

    def step(
        self,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        zero_grad: bool = False,
    ) -> float | None:
        """Update every parameter from its gradient.

        What belongs to a step may be done in the same pass, which is faster and gives the same
        bits as the calls `clip_grad_norm_`, `clip_grad_value_`, `step` and `zero_grad`.

        Args:
            clip_norm: The `max_norm` of `clip_grad_norm_`; None for no clipping.
            clip_value: The `clip_value` of `clip_grad_value_`; None for no clipping.
            zero_grad: Whether gradients are zero afterwards, ready for the next `backward`.

        Returns:
            The gradients' norm before it was clipped; None without `clip_norm`. On a device it is
            an array of shape (), which `float()` waits for.

        Raises:
            ValueError: A limit is negative, or a parameter is read-only because its layer is in
                evaluation mode. Nothing is changed then.
            TypeError: A limit is not a number.
        """
        care = _care(clip_norm, clip_value, zero_grad)
        self.steps += 1
        try:
            return self._step(care)
        except ValueError:  # before anything was changed
            self.steps -= 1
            for parameter in self.parameters:
                parameter.check_writable()
            raise

    def _step(self, care: _core.Care) -> float | None:
        raise NotImplementedError

    def zero_grad(self) -> None:
        """Set every gradient to zero."""
        self._on.gradients(group=self._group, care=_core.Care(zero=True))

    @property
    def _group(self) -> Any:  # of the type that the backend's functions take
        if self._made_group is None:
            self._made_group = self._on.group(lists=self._lists)
        return self._made_group

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_made_group": None}  # a copy has arrays of its own

    def state_dict(self) -> dict[str, Any]:
        """What a later run needs to go on with the same bits.

        Returns:
            `steps`, `lr` and `buffers`, a dict of NumPy copies of arrays named `buffer.parameter`.
            Where several parameters have one name, their places in the list come before the names.
        """
        return {
            "steps": self.steps,
            "lr": self.lr,
            "buffers": {n: self._on.to_host(a) for n, a in self._named_buffers().items()},
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Set what `state_dict` gave for an optimiser of this class and these parameters.

        Raises:
            ValueError: A name is missing or unknown, a shape differs, or `steps` or `lr` is
                negative. Nothing is changed then.
            TypeError: A value is of the wrong type. Nothing is changed then.
        """
        checks.same_names("state_dict", state_dict, ("steps", "lr", "buffers"))
        steps = checks.count("state_dict['steps']", state_dict["steps"])
        lr = checks.finite("state_dict['lr']", state_dict["lr"], 0)
        buffers, loaded = self._named_buffers(), state_dict["buffers"]
        checks.same_names("state_dict['buffers']", loaded, buffers)
        values = {n: checks.values_of(n, loaded[n], array) for n, array in buffers.items()}
        for name, array in buffers.items():
            array[...] = values[name]
        self.steps, self.lr = steps, lr

    def __repr__(self) -> str:
        size = sum(p.size for p in self.parameters)
        return (
            f"{type(self).__name__}({len(self.parameters)} parameters of {size:,} values, "
            f"lr={self.lr}, {described(self)})"
        )

    def _named_buffers(self) -> dict[str, RealArray]:
        names = [p.name for p in self.parameters]
        if len(set(names)) < len(names):  # of layers that were listed one by one
            names = [f"{i}.{name}" for i, name in enumerate(names)]
        return {
            f"{buffer}.{name}": array
            for buffer, arrays in self._buffers.items()
            for name, array in zip(names, arrays, strict=True)
        }

    def _add_buffer(self, name: str, wanted: bool = True, start: float = 0.0) -> None:
        """Make one array beside each value, or none if the optimiser does without.

        In the order that the function of `_core` documents.
        """
        arrays = [np.full_like(p.value, start) for p in self.parameters] if wanted else []
        if wanted:
            self._buffers[name] = arrays
        self._lists.append(arrays)


class SGD(Optimizer):
    """Stochastic gradient descent: v = momentum v + g, w -= lr v.

    Args:
        parameters: A module, or modules and parameters in a list, of one dtype.
        lr: Learning rate.
        momentum: How much of v goes on; 0 for none.
        weight_decay: weight_decay * w is added to g.
        nesterov: Use g + momentum v in place of v (Sutskever et al. 2013).
    """

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1e-3,
        *,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        self.momentum = checks.finite("momentum", momentum, 0)
        self.nesterov = checks.boolean("nesterov", nesterov)
        if nesterov and momentum == 0:
            raise ValueError("nesterov: expected momentum above 0 with it, got 0")
        self._add_buffer("velocity", momentum > 0)

    def _step(self, care: _core.Care) -> float | None:
        return self._on.sgd(
            group=self._group,
            care=care,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.nesterov,
        )


class Adagrad(Optimizer):
    """Adagrad (Duchi et al. 2011): s += g^2, w -= lr g / (sqrt(s) + eps).

    Args:
        parameters: A module, or modules and parameters in a list, of one dtype.
        lr: Learning rate.
        lr_decay: The rate of step t (from 0) is lr / (1 + t lr_decay).
        weight_decay: weight_decay * w is added to g.
        initial_accumulator_value: s before the first step.
        eps: Keeps the quotient finite.
    """

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1e-2,
        *,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        self.eps = checks.finite("eps", eps, 0)
        self.lr_decay = checks.finite("lr_decay", lr_decay, 0)
        start = checks.finite("initial_accumulator_value", initial_accumulator_value, 0)
        self._add_buffer("sum", start=start)

    def _step(self, care: _core.Care) -> float | None:
        return self._on.adagrad(
            group=self._group,
            care=care,
            lr=self.lr / (1 + (self.steps - 1) * self.lr_decay),
            eps=self.eps,
            weight_decay=self.weight_decay,
        )


class RMSprop(Optimizer):
    """RMSprop (Hinton 2012; centered: Graves 2013): w -= lr g / (sqrt(mean of g^2) + eps).

    Args:
        parameters: A module, or modules and parameters in a list, of one dtype.
        lr: Learning rate.
        alpha: How much of a running mean goes on.
        eps: Keeps the quotient finite.
        weight_decay: weight_decay * w is added to g.
        momentum: How much of the last update goes on; 0 for none.
        centered: Use the variance of g in place of the mean of g^2.
    """

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1e-2,
        *,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        self.eps = checks.finite("eps", eps, 0)
        self.alpha = checks.number("alpha", alpha, 0, 1)
        self.momentum = checks.finite("momentum", momentum, 0)
        self.centered = checks.boolean("centered", centered)
        self._add_buffer("square")
        self._add_buffer("velocity", momentum > 0)
        self._add_buffer("mean", centered)

    def _step(self, care: _core.Care) -> float | None:
        return self._on.rmsprop(
            group=self._group,
            care=care,
            lr=self.lr,
            alpha=self.alpha,
            eps=self.eps,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
        )


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015).

    Args:
        parameters: A module, or modules and parameters in a list, of one dtype.
        lr: Learning rate.
        betas: How much of the running means of g and of g^2 goes on.
        eps: Keeps the quotient finite.
        weight_decay: weight_decay * w is added to g.
    """

    _decoupled = False

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        self.eps = checks.finite("eps", eps, 0)
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise TypeError(f"betas: expected two numbers, got {betas!r}")
        self.betas = (
            checks.number("betas[0]", betas[0], 0, 1, open_high=True),
            checks.number("betas[1]", betas[1], 0, 1, open_high=True),
        )
        self._add_buffer("mean")
        self._add_buffer("square")

    def _step(self, care: _core.Care) -> float | None:
        return self._on.adam(
            group=self._group,
            care=care,
            lr=self.lr,
            beta1=self.betas[0],
            beta2=self.betas[1],
            eps=self.eps,
            weight_decay=self.weight_decay,
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
        parameters: Parameters,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(parameters, lr, betas=betas, eps=eps, weight_decay=weight_decay)


def described(thing: object) -> str:
    """The options and counts of an optimiser or a schedule, for its `repr`."""
    shown = {n: v for n, v in vars(thing).items() if not n.startswith("_")}
    return ", ".join(f"{n}={v}" for n, v in shown.items() if n not in ("parameters", "optimizer"))


def _care(clip_norm: float | None, clip_value: float | None, zero_grad: bool) -> _core.Care:
    return _core.Care(
        clip_norm=None if clip_norm is None else checks.number("clip_norm", clip_norm, 0),
        clip_value=None if clip_value is None else checks.number("clip_value", clip_value, 0),
        zero=zero_grad,
    )
