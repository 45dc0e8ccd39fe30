"""Noise inside the steps of recurrent layers: zoneout and dropout of several kinds."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from rnnfast._engine import checks, known
from rnnfast._engine.backends import CPU, Backend

Zoneout: TypeAlias = "float | tuple[float, ...]"


class Noise(NamedTuple):
    """The noise in every layer and direction of a network.

    Attributes:
        zoneout: For each state, the probability that a unit keeps its value.
        input_dropout: Probability of dropping inputs of layers.
        recurrent_dropout: Probability of dropping operands of the recurrent products.
        candidate_dropout: Probability of dropping the candidates of steps.
        expects: Whether even training calls use the expectation of zoneout and drop nothing.
    """

    zoneout: tuple[float, ...]
    input_dropout: float
    recurrent_dropout: float
    candidate_dropout: float = 0.0
    expects: bool = False


def zoneout(value: Any, states: int) -> Zoneout:
    """Return `value`, which must be a probability or a tuple of one for each state of a cell."""
    if not isinstance(value, (tuple, list)):
        return checks.number("zoneout", value, 0, 1)
    if len(value) != states:
        raise ValueError(
            f"zoneout: expected a number, or a tuple of {states} numbers, one per state of the "
            f"cell, got {len(value)} numbers"
        )
    return tuple(checks.number(f"zoneout[{k}]", p, 0, 1) for k, p in enumerate(value))


def candidate_dropout(value: Any, cell: str) -> float:
    """Return `value`, which must be a probability, and 0 for a cell that marks no candidate."""
    p = checks.number("candidate_dropout", value, 0, 1)
    if p and not known.has_candidate(cell):
        raise ValueError(
            f"candidate_dropout: expected 0 for cell {cell!r}, whose step does not mark its "
            f"candidate with x.candidate(v), got {p}"
        )
    return p


def none(zoneout: Any, input_dropout: Any, recurrent_dropout: Any, candidate_dropout: Any) -> bool:
    """Return whether these are the default zeros, which need no checks."""
    is_float = type(zoneout) is type(input_dropout) is type(recurrent_dropout) is float
    if not is_float or type(candidate_dropout) is not float:
        return False
    return not (zoneout or input_dropout or recurrent_dropout or candidate_dropout)


def check_projection(
    proj_size: int, of_states: Any, recurrent_dropout: float, candidate_dropout: float
) -> None:
    """Refuse noise inside the steps of a layer with a projection, which does not support it."""
    zones = any(of_states) if isinstance(of_states, tuple) else of_states
    if proj_size and (zones or recurrent_dropout or candidate_dropout):
        raise ValueError(
            "zoneout, recurrent_dropout, candidate_dropout: expected 0 with proj_size, as layers "
            f"with a projection do not support them, got zoneout={of_states}, "
            f"recurrent_dropout={recurrent_dropout}, candidate_dropout={candidate_dropout}"
        )


def of(
    given_zoneout: Any,
    input_dropout: Any,
    recurrent_dropout: Any,
    given_candidate_dropout: Any,
    cell: str,
    states: int,
    backend: Backend = CPU,
    expects: bool = False,
) -> Noise | None:
    """Return the checked noise of a network; None if all probabilities are 0.

    `states` is the number of states of the cell.

    Raises:
        TypeError: A probability is not a number.
        ValueError: A probability is not in [0, 1], `zoneout` has too few or too many of them, the
            device does not support noise, or the cell marks no candidate.
    """
    checked = zoneout(given_zoneout, states)
    of_states = checked if isinstance(checked, tuple) else (checked,) * states
    noise = Noise(
        of_states,
        checks.number("input_dropout", input_dropout, 0, 1),
        checks.number("recurrent_dropout", recurrent_dropout, 0, 1),
        candidate_dropout(given_candidate_dropout, cell),
        expects,
    )
    if not (any(of_states) or any(noise[1:4])):
        return None
    if not backend.draws_noise:
        names = ("zoneout", "input_dropout", "recurrent_dropout", "candidate_dropout")
        values = (given_zoneout, input_dropout, recurrent_dropout, given_candidate_dropout)
        got = ", ".join(f"{n} = {v}" for n, v in zip(names, values, strict=True) if v)
        raise ValueError(
            f"{', '.join(names)}: expected 0 on device {backend.name!r}, which does not support "
            f"noise inside the steps, got {got}"
        )
    return noise
