"""Averages of weights over the steps of a training run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rnnfast._engine import checks
from rnnfast._engine.checks import RealArray
from rnnfast.layers.module import Module
from rnnfast.optim.parameters import Parameters, distinct_names, listed


class EMA:
    """Exponential moving average of parameters: average += (1 - decay) (value - average).

    It starts from the values that the parameters have when it is created. Call `update()` after
    each step of the optimiser, and evaluate inside `with ema.average():`. Frozen parameters are
    included, and their averages are their values. Source: Polyak and Juditsky, "Acceleration of
    stochastic approximation by averaging", 1992, with weights that fall exponentially.

    Args:
        parameters: A module, or modules and parameters in a list, of one dtype. Pass the
            module, not its parameters, if it is to be evaluated, as it then notes the change.
        decay: The fraction of the average that each update keeps, in [0, 1].

    Attributes:
        decay: The fraction that each update keeps; may be set at any time.
        updates: Number of updates made.

    Raises:
        ValueError: `decay` is outside [0, 1], or there are no parameters.
        TypeError: An argument is of the wrong type.
    """

    def __init__(self, parameters: Parameters, decay: float = 0.999) -> None:
        given = [parameters] if isinstance(parameters, Module) else list(parameters)
        self._parameters, self._backend = listed(given)
        self._modules = [item for item in given if isinstance(item, Module)]
        self._averages = [p.value.copy() for p in self._parameters]
        self._swapped = False
        self.decay = decay
        self.updates = 0

    @property
    def decay(self) -> float:
        """The fraction of the average that each update keeps, in [0, 1]."""
        return self._decay

    @decay.setter
    def decay(self, decay: float) -> None:
        self._decay = checks.number("decay", decay, 0, 1)

    def update(self) -> None:
        """Update the averages with the current values of the parameters.

        Raises:
            RuntimeError: The parameters hold the averages, inside `average()`.
        """
        self._check_apart("update")
        for average, parameter in zip(self._averages, self._parameters, strict=True):
            difference = parameter.value - average
            difference *= 1 - self._decay
            average += difference
        self.updates += 1

    @contextmanager
    def average(self) -> Iterator[None]:
        """Put the averages into the parameters for a `with` block, and restore the values after it.

        Modules passed to the constructor may be in either mode, and may switch inside the block.
        Layers of parameters that were passed directly must be in training mode at both ends.

        Raises:
            RuntimeError: The parameters already hold the averages.
            ValueError: A parameter is read-only.
        """
        self._check_apart("average")
        self._swap()
        self._swapped = True
        try:
            yield
        finally:
            self._swap()
            self._swapped = False

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a later run needs to continue with the same bits.

        Returns:
            `updates`, and `averages`, a dict of NumPy copies of arrays by the parameters' names.
            If several have the same name, names are prefixed with their places in the list.
        """
        averages = {name: self._backend.to_host(array) for name, array in self._named().items()}
        return {"updates": self.updates, "averages": averages}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned for an average of these parameters.

        Raises:
            ValueError: A name is missing or unknown, a shape differs, or `updates` is negative.
                In that case nothing is changed.
            TypeError: A value is of the wrong type. In that case nothing is changed.
            RuntimeError: The parameters hold the averages, inside `average()`.
        """
        self._check_apart("load_state_dict")
        checks.same_names("state_dict", state_dict, ("updates", "averages"))
        updates = checks.count("state_dict['updates']", state_dict["updates"])
        averages, loaded = self._named(), state_dict["averages"]
        checks.same_names("state_dict['averages']", loaded, averages)
        values = {n: checks.values_of(n, loaded[n], array) for n, array in averages.items()}
        for name, array in averages.items():
            array[...] = values[name]
        self.updates = updates

    def __repr__(self) -> str:
        size = sum(p.size for p in self._parameters)
        return (
            f"EMA({len(self._parameters)} parameters of {size:,} values, decay={self.decay}, "
            f"updates={self.updates})"
        )

    def _swap(self) -> None:
        for module in self._modules:
            module._thaw_all()
        for parameter in self._parameters:
            parameter.check_writable()
        for average, parameter in zip(self._averages, self._parameters, strict=True):
            value = parameter.value.copy()
            parameter.value[...] = average
            average[...] = value

    def _named(self) -> dict[str, RealArray]:
        return dict(zip(distinct_names(self._parameters), self._averages, strict=True))

    def _check_apart(self, method: str) -> None:
        if self._swapped:
            raise RuntimeError(
                f"EMA.{method}: expected to be called outside of `with ema.average()`, inside "
                "which the parameters hold the averages"
            )
