"""Groups of parameters with options of their own, and passes over their trained parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from rnnfast import _core
from rnnfast._engine import checks
from rnnfast._engine.backends import Backend
from rnnfast._engine.checks import RealArray
from rnnfast.layers.parameter import Parameter

Check: TypeAlias = Callable[[str, Any], Any]
Rate: TypeAlias = tuple[float, float]


_NO_CARE = _core.care()


class HasRate(Protocol):
    """The optimiser that groups belong to."""

    @property
    def lr(self) -> float:
        """The learning rate."""


class Arrays:
    """Lists of arrays of parameters, which give the engine those that are not frozen.

    Args:
        on: The backend that holds the arrays.
        parameters: The parameters.
        lists: Lists with one array per parameter, or empty ones; gradients come first.
    """

    def __init__(
        self,
        backend: Backend,
        parameters: Sequence[Parameter],
        lists: Sequence[Sequence[RealArray]],
    ) -> None:
        self._backend, self._lists = backend, lists
        self._freezings = [p.freezing for p in parameters]
        self._trained: list[bool] = []
        self._made: Any = None

    def group(self) -> Any:
        """Return the group that the backend's functions take; None if all are frozen."""
        trained = [freezing.requires_grad for freezing in self._freezings]
        if trained != self._trained:
            self._trained, self._made = trained, None
        if self._made is None and any(trained):
            self._made = self._backend.group(
                lists=[
                    [array for array, counts in zip(arrays, trained, strict=False) if counts]
                    for arrays in self._lists  # an empty list stays empty
                ]
            )
        return self._made

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_made": None}  # a copy has its own arrays


class ParameterGroup:
    """Parameters that an optimiser updates alike; see `Optimizer.groups`.

    Attributes:
        parameters: The parameters of the group.
        options: The group's own options, by name; the others are those of the optimiser.
        buffers: State that the optimiser keeps: for each name, one array per parameter.
        arrays: All arrays of the group, for passes over them.
        lr_state: The group's own rate, if any, and the optimiser's rate when it was set.
    """

    arrays: Arrays

    def __init__(
        self, optimizer: HasRate, parameters: list[Parameter], options: Mapping[str, Any]
    ) -> None:
        self._optimizer = optimizer
        self.parameters = parameters
        self.options = dict(options)
        self.buffers: dict[str, list[RealArray]] = {}
        self.lr_state: Rate | None = None
        if "lr" in options:
            self.lr = options["lr"]

    @property
    def lr(self) -> float:
        """The group's learning rate, which may be set at any time.

        A group's own rate changes in proportion to the optimiser's, so that a schedule, which sets
        only the optimiser's, acts on all groups alike.
        """
        current = self._optimizer.lr
        if self.lr_state is None:
            return current
        own, beside = self.lr_state
        return own if current == beside else own * (current / beside)

    @lr.setter
    def lr(self, lr: float) -> None:
        own, current = not_negative("lr", lr), self._optimizer.lr
        if current == 0:
            raise ValueError(
                "lr: expected a rate of the optimiser above 0, as a group's rate is proportional "
                f"to it, got 0, and {own} for a group"
            )
        self.lr_state = own, current

    def option(self, name: str) -> Any:
        """Return the value of an option: the group's own, or else the optimiser's."""
        return self.options[name] if name in self.options else getattr(self._optimizer, name)

    def __repr__(self) -> str:
        size = sum(p.size for p in self.parameters)
        own = {"lr": self.lr, **{n: v for n, v in self.options.items() if n != "lr"}}
        options = ", ".join(f"{name}={value}" for name, value in own.items())
        return f"ParameterGroup({len(self.parameters)} parameters of {size:,} values, {options})"


def take_care(backend: Backend, gradients: Arrays, care: _core.Care) -> Any:
    """Clip or zero the gradients without a step; return their norm before, if it is needed.

    Raises:
        RuntimeError: The norm is not finite although `care` requires it.
    """
    group = gradients.group()
    if group is None:
        return 0.0 if care.clip_norm is not None or care.only_if_finite else None
    if (
        care.clip_norm is None
        and care.clip_value is None
        and not (care.zero or care.only_if_finite)
    ):
        return None
    norm = backend.gradients(group=group, care=care)
    check_finite(norm, care)
    return norm


def check_finite(norm: Any, care: _core.Care) -> None:
    """Raise a RuntimeError if a norm is not finite although `care` requires it."""
    if care.only_if_finite and not math.isfinite(norm):
        raise RuntimeError(
            "gradients: expected a finite norm, as error_if_nonfinite=True requires, got "
            f"{float(norm)}; nothing was changed"
        )


def care_for(
    clip_norm: float | None, clip_value: float | None, zero_grad: bool, error_if_nonfinite: bool
) -> _core.Care:
    """Check the arguments of `Optimizer.step`."""
    if clip_norm is clip_value is None and zero_grad is error_if_nonfinite is False:
        return _NO_CARE
    return _core.care(
        clip_norm=None if clip_norm is None else checks.number("clip_norm", clip_norm, 0),
        clip_value=None if clip_value is None else checks.number("clip_value", clip_value, 0),
        zero=zero_grad,
        only_if_finite=checks.boolean("error_if_nonfinite", error_if_nonfinite),
    )


def not_negative(name: str, value: Any) -> float:
    """Return an option that must be a finite number of at least 0."""
    return checks.finite(name, value, 0)


def checked_options(
    label: str, options: Mapping[str, Any], own: Mapping[str, Check]
) -> dict[str, Any]:
    """Return a group's own options, checked.

    Raises:
        ValueError: An option is unknown, or its value is out of range.
        TypeError: A value is of the wrong type.
    """
    known = {"lr": not_negative, "weight_decay": not_negative, **own}
    for name in options:
        if name not in known:
            raise ValueError(
                f"{label}: expected only the keys params, {', '.join(known)}, got {name!r}"
            )
    return {name: known[name](f"{label}[{name!r}]", value) for name, value in options.items()}


def checked_rates(label: str, rates: Any, count: int) -> list[Rate | None]:
    """Return the `lr_state` of each of `count` groups, checked."""
    if not isinstance(rates, (list, tuple)) or len(rates) != count:
        raise ValueError(f"{label}: expected a list of {count}, one per group, got {rates!r}")
    return [None if rate is None else _rate(f"{label}[{i}]", rate) for i, rate in enumerate(rates)]


def _rate(label: str, rate: Any) -> Rate:
    if not isinstance(rate, (list, tuple)) or len(rate) != 2 or rate[1] == 0:
        raise ValueError(f"{label}: expected None, or two numbers, the second not 0, got {rate!r}")
    return not_negative(f"{label}[0]", rate[0]), not_negative(f"{label}[1]", rate[1])
