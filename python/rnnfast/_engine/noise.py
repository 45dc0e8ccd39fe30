"""Noise inside the steps of recurrent layers: zoneout, and dropout by masks of whole sequences."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from rnnfast._engine import checks
from rnnfast._engine.backend import CPU, Backend

Zoneout: TypeAlias = "float | tuple[float, ...]"


class Noise(NamedTuple):
    """What every layer and direction of a network has.

    Attributes:
        zoneout: The probability of each state to keep its value.
        input_dropout: Of the layers' inputs.
        recurrent_dropout: Of what the recurrent products multiply.
        expects: Whether calls of training, too, take zoneout's expectation and drop nothing.
    """

    zoneout: tuple[float, ...]
    input_dropout: float
    recurrent_dropout: float
    expects: bool = False


def zoneout(value: Any, states: int) -> Zoneout:
    """Return `value`, which must be a probability or one for each of a cell's states."""
    if not isinstance(value, (tuple, list)):
        return checks.number("zoneout", value, 0, 1)
    if len(value) != states:
        raise ValueError(
            f"zoneout: expected a number, or a tuple of {states}, one for each state of the cell, "
            f"got {len(value)} numbers"
        )
    return tuple(checks.number(f"zoneout[{k}]", p, 0, 1) for k, p in enumerate(value))


def none(zoneout: Any, input_dropout: Any, recurrent_dropout: Any) -> bool:
    """Whether these are the usual zeros, which need no checks."""
    is_float = type(zoneout) is type(input_dropout) is type(recurrent_dropout) is float
    return is_float and not (zoneout or input_dropout or recurrent_dropout)


def check_projection(proj_size: int, of_states: Any, recurrent_dropout: float) -> None:
    """Refuse noise in the steps of a layer whose h is projected, which has none."""
    zones = any(of_states) if isinstance(of_states, tuple) else of_states
    if proj_size and (zones or recurrent_dropout):
        raise ValueError(
            "zoneout, recurrent_dropout: expected 0 with proj_size, as a projected h does not have "
            f"them, got zoneout={of_states}, recurrent_dropout={recurrent_dropout}"
        )


def of(
    given_zoneout: Any,
    input_dropout: Any,
    recurrent_dropout: Any,
    states: int,
    on: Backend = CPU,
    expects: bool = False,
) -> Noise | None:
    """The noise of a network whose cell has some states; None for none.

    Raises:
        TypeError: A probability is not a number.
        ValueError: One is not in [0, 1], there are too few or too many, or the device has no noise.
    """
    checked = zoneout(given_zoneout, states)
    of_states = checked if isinstance(checked, tuple) else (checked,) * states
    noise = Noise(
        of_states,
        checks.number("input_dropout", input_dropout, 0, 1),
        checks.number("recurrent_dropout", recurrent_dropout, 0, 1),
        expects,
    )
    if not (any(of_states) or noise.input_dropout or noise.recurrent_dropout):
        return None
    if not on.draws_noise:
        names = ("zoneout", "input_dropout", "recurrent_dropout")
        values = (given_zoneout, input_dropout, recurrent_dropout)
        got = ", ".join(f"{n} = {v}" for n, v in zip(names, values, strict=True) if v)
        raise ValueError(
            f"{', '.join(names)}: expected 0 on device {on.name!r}, which has no noise inside the "
            f"steps, got {got}"
        )
    return noise
