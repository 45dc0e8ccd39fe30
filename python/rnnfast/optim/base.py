"""Base class of optimisers: groups of parameters, steps, and states to save."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from rnnfast import _core
from rnnfast._engine import checks
from rnnfast._engine.checks import RealArray
from rnnfast.layers.parameter import Parameter
from rnnfast.optim.groups import (
    Arrays,
    Check,
    ParameterGroup,
    Rate,
    care_for,
    check_finite,
    checked_options,
    checked_rates,
    not_negative,
    take_care,
)
from rnnfast.optim.parameters import Groups, distinct_names, grouped


class Optimizer:
    """Base of the optimisers.

    An optimiser takes a module, a list of modules and parameters, or groups of these with their own
    options, as in PyTorch: `Adam([{"params": model.lstm}, {"params": model.head,
    "lr": 1e-4, "weight_decay": 0.0}], lr=1e-3)`. A group's `lr` changes in proportion
    to that of the optimiser, so that schedules act on all groups. Frozen parameters are skipped.

    Attributes:
        parameters: The parameters of all groups.
        groups: The groups; if none were given, a single one of all parameters.
        weight_decay: The weight decay of groups that do not set their own.
        steps: Number of steps made.
    """

    _OPTIONS: ClassVar[Mapping[str, Check]] = {}  # checks of the options of a subclass, by name

    def __init__(self, parameters: Groups, lr: float, weight_decay: float, **options: Any) -> None:
        groups, self._backend = grouped(parameters)
        self.parameters = [p for group, _ in groups for p in group]
        self.lr = lr
        self.weight_decay = not_negative("weight_decay", weight_decay)
        self.steps = 0
        for name, value in options.items():
            setattr(self, name, self._OPTIONS[name](name, value))
        self._gradients = Arrays(
            self._backend, self.parameters, [[p.grad for p in self.parameters]]
        )
        self.groups = [self._make_group(i, *group) for i, group in enumerate(groups)]

    def _make_group(
        self, place: int, parameters: list[Parameter], options: dict[str, Any]
    ) -> ParameterGroup:
        own = checked_options(f"parameters[{place}]", options, self._OPTIONS)
        group = ParameterGroup(self, parameters, own)
        lists = [[p.grad for p in parameters], [p.value for p in parameters]]
        for name, start in self._buffers(group).items():
            arrays = [] if start is None else [np.full_like(p.value, start) for p in parameters]
            if arrays:
                group.buffers[name] = arrays
            lists.append(arrays)
        group.arrays = Arrays(self._backend, parameters, lists)
        return group

    def _buffers(self, group: ParameterGroup) -> dict[str, float | None]:
        """Return the initial values of a group's buffers, None for a buffer that it lacks.

        The order is that of the buffers in the update function of `_core`.

        Raises:
            ValueError: Options of the group exclude each other.
        """
        raise NotImplementedError

    def _update(self, group: ParameterGroup, arrays: Any, care: _core.Care) -> float | None:
        """Update the arrays of a group's parameters that are not frozen."""
        raise NotImplementedError

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
        error_if_nonfinite: bool = False,
    ) -> float | None:
        """Update every parameter from its gradient.

        Clipping and zeroing can be part of the same pass, which is faster than the separate calls
        `clip_grad_norm_`, `clip_grad_value_`, `step` and `zero_grad` and has bitwise the same
        result.

        Args:
            clip_norm: The `max_norm` of `clip_grad_norm_`; None for no clipping.
            clip_value: The `clip_value` of `clip_grad_value_`; None for no clipping.
            zero_grad: Whether to set gradients to zero afterwards, ready for the next `backward`.
            error_if_nonfinite: Whether to raise an error if the joint norm of the gradients is
                infinite or not a number, which waits for the device.

        Returns:
            The joint norm of the gradients before clipping; None without `clip_norm` and
            `error_if_nonfinite`. On a device it is an array of shape (), and `float()`
            waits for it.

        Raises:
            ValueError: A limit is negative, or a parameter is read-only because its layer is in
                evaluation mode. In that case nothing is changed.
            TypeError: A limit is not a number.
            RuntimeError: The gradients' norm is not finite, with `error_if_nonfinite`. In that
                case nothing is changed.
            MemoryError: There is no memory for the call. Nothing is changed, unless the parameters
                are in several groups: some of them may have taken the step then.
        """
        care = care_for(clip_norm, clip_value, zero_grad, error_if_nonfinite)
        self.steps += 1
        try:
            return self._step(care)
        except (ValueError, RuntimeError, MemoryError):  # raised before anything was changed
            self.steps -= 1
            for parameter in self.parameters:
                if parameter.requires_grad:
                    parameter.check_writable()
            raise

    def _step(self, care: _core.Care) -> float | None:
        trained = [
            (group, arrays) for group in self.groups if (arrays := group.arrays.group()) is not None
        ]
        if len(trained) == 1:  # a single pass also clips
            joint = self._update(*trained[0], care)
            if care.only_if_finite:
                check_finite(joint, care)
            return joint
        for parameter in self.parameters:
            if parameter.requires_grad:
                parameter.check_writable()
        around = _core.care(clip_norm=care.clip_norm, only_if_finite=care.only_if_finite)
        norm: float | None = take_care(self._backend, self._gradients, around)
        for group, arrays in trained:
            self._update(group, arrays, _core.care(clip_value=care.clip_value, zero=care.zero))
        return norm

    def zero_grad(self) -> None:
        """Set every gradient to zero."""
        take_care(self._backend, self._gradients, _core.care(zero=True))
        for parameter in self.parameters:
            if not parameter.requires_grad:
                parameter.grad.fill(0)

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a later run needs to continue with the same bits.

        Returns:
            `steps`, `lr` and `buffers`, a dict of NumPy copies of arrays named `buffer.parameter`;
            and, if groups have their own rates, `group_lr`. If several parameters have the same
            name, names are prefixed with the places of the parameters in the list.
        """
        rates = {"group_lr": [group.lr_state for group in self.groups]}
        return {
            "steps": self.steps,
            "lr": self.lr,
            "buffers": {n: self._backend.to_host(a) for n, a in self._named_buffers().items()},
            **(rates if any(rates["group_lr"]) else {}),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned for an optimiser of this class and these parameters.

        Raises:
            ValueError: A name is missing or unknown, a shape differs, or `steps` or a rate is
                negative. In that case nothing is changed.
            TypeError: A value is of the wrong type. In that case nothing is changed.
        """
        own_rates = any(group.lr_state for group in self.groups)
        names = ["steps", "lr", "buffers"] + ["group_lr"] * own_rates
        checks.same_names("state_dict", state_dict, names)
        steps = checks.count("state_dict['steps']", state_dict["steps"])
        lr = not_negative("state_dict['lr']", state_dict["lr"])
        rates: list[Rate | None] = [None] * len(self.groups)
        if own_rates:
            rates = checked_rates("state_dict['group_lr']", state_dict["group_lr"], len(rates))
        buffers, loaded = self._named_buffers(), state_dict["buffers"]
        checks.same_names("state_dict['buffers']", loaded, buffers)
        values = {n: checks.values_of(n, loaded[n], array) for n, array in buffers.items()}
        for name, array in buffers.items():
            array[...] = values[name]
        self.steps, self.lr = steps, lr
        for group, rate in zip(self.groups, rates, strict=True):
            group.lr_state = rate

    def __repr__(self) -> str:
        size = sum(p.size for p in self.parameters)
        groups = f" in {len(self.groups)} groups" if len(self.groups) > 1 else ""
        return (
            f"{type(self).__name__}({len(self.parameters)} parameters of {size:,} values{groups}, "
            f"lr={self.lr}, {described(self)})"
        )

    def _named_buffers(self) -> dict[str, RealArray]:
        result: dict[str, RealArray] = {}
        name = iter(distinct_names(self.parameters))
        for group in self.groups:
            own = list(itertools.islice(name, len(group.parameters)))
            result |= {
                f"{buffer}.{of}": array
                for buffer, arrays in group.buffers.items()
                for of, array in zip(own, arrays, strict=True)
            }
        return result


def described(thing: object) -> str:
    """Return the options and counts of an optimiser or a schedule for its `repr`."""
    shown = {n: v for n, v in vars(thing).items() if not n.startswith("_")}
    return ", ".join(
        f"{n}={v}" for n, v in shown.items() if n not in ("parameters", "groups", "optimizer")
    )
