"""Prints a traced cell as a C++ header, from which kernels for a GPU are compiled."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rnnfast.traced.compiled import Stage, TracedCell
from rnnfast.traced.program import Program
from rnnfast.traced.value import CellError

_PLACES = {
    "slot": "e.slot",
    "h": "e.h",
    "param": "e.p",
    "state": "e.s",
    "next": "e.next",
    "made": "e.made",
    "dnext": "e.dnext",
    "dmade": "e.dmade",
    "dslot": "e.dslot",
    "dgate": "e.dgate",
    "dstate": "e.ds",
    "dparam": "e.dp",
}
"""The arrays of cells/step.h, by the kind of place in a program."""

_OPERATIONS = {
    "copy": "{}",
    "neg": "-{}",
    "add": "{} + {}",
    "sub": "{} - {}",
    "mul": "{} * {}",
    "div": "{} / {}",
    "max": "maximum({}, {})",
    "min": "minimum({}, {})",
    "dsigmoid": "{} * dsigmoid({})",
    "dtanh": "{} * dtanh({})",
    "drelu": "where_positive({1}, {0})",
}
"""Operations that are not printed as a call of a function of the same name."""

_HEADER = """\
// Printed by rnnfast.
#include "cells/step.h"

namespace rnnfast {{

struct {name} {{
  static constexpr bool kPrinted = true;
  static constexpr CellInfo info{{
      .name = "{name}",
      .states = {states},
      .gates = {gates},
      .params = {params},
      .input = {{false, {{{input}}}}},
      .recurrent = {{false, {{{recurrent}}}}},
      .opens = {opens},
      .stages = {{{stages}}}}};

  RNNFAST_INLINE static constexpr StepWrites writes(int stage) {{
    constexpr StepWrites of[] = {{{writes}}};
    return of[stage];
  }}

  template <int kStage, class V>
  static RNNFAST_INLINE void forward(const StepValues<V>& e) {{
{forward}  }}

  template <int kStage, class V>
  static RNNFAST_INLINE void backward(const StepGradients<V>& e) {{
{backward}  }}
}};

}}  // namespace rnnfast
"""


class Header(NamedTuple):
    """A cell as C++.

    Attributes:
        name: The name of the type, in namespace rnnfast. It differs for different equations.
        text: The text of the header.
    """

    name: str
    text: str


def header(traced: TracedCell) -> Header:
    """Print a traced cell as a type in the form of cells/step.h.

    Raises:
        CellError: The step uses `normalize`, which is not supported yet.
    """
    if traced.norms:
        raise CellError(
            f"cell {traced.name!r}: a step that normalises over the units runs only on the CPU"
        )
    opening = [] if traced.opening is None else [_opening(traced, traced.opening)]
    stages = [*opening, *traced.stages]
    last = traced.stages[-1]
    parts = {
        "states": traced.states,
        "gates": traced.gates,
        "params": traced.params,
        "input": _list(traced.x_rows),
        "recurrent": _list(traced.h_rows),
        "opens": "true" if opening else "false",
        "stages": _list(_stage(traced, stage, stage is last) for stage in stages),
        "writes": _list(_writes(stage) for stage in stages),
        "forward": _functions([stage.forward for stage in stages], traced.constants),
        "backward": _functions([stage.backward for stage in stages], traced.constants),
    }
    digest = hashlib.sha256(_HEADER.format(name="", **parts).encode()).hexdigest()
    name = f"Printed_{digest[:16]}"
    return Header(name, _HEADER.format(name=name, **parts))


def _opening(traced: TracedCell, programs: tuple[Program, Program]) -> Stage:
    """Return the programs of the opening values as a stage, which begins the list of a header."""
    return Stage((), *programs, tuple(range(traced.opening_values)))


def _list(items: Iterable[object]) -> str:
    return ", ".join(map(str, items))


def _stage(traced: TracedCell, stage: Stage, is_last: bool) -> str:
    """Print a stage of `CellInfo`; as in cells/definition.h, the last one counts the slots."""
    products = _list(
        f"{{{'state' if p.of_state else 'value'}({p.operand}), {{{p.first}, {p.gates}}}}}"
        for p in stage.products
    )
    parts = [] if _opens(traced, stage) else [".gates = {0, 1}"]
    if products:
        parts.append(f".products = {{{products}}}")
    if stage.made:
        parts.append(f".values = {len(stage.made)}")
    if is_last:
        parts += [f".saved = {traced.slots}", f".sees = {{0, {traced.dslots}}}"]
    return f"{{{_list(parts)}}}"


def _opens(traced: TracedCell, stage: Stage) -> bool:
    return traced.opening is not None and stage.forward is traced.opening[0]


def _writes(stage: Stage) -> str:
    def bits(program: Program, kind: str) -> str:
        written = {int(index) for _, to, index, *_ in program if to == kind}
        return f"{sum(1 << index for index in written):#x}u"

    forward, backward = stage.forward, stage.backward
    return (
        f"{{{bits(forward, 'slot')}ll, {bits(backward, 'dslot')}ll, "
        f"{bits(backward, 'dgate')}, {bits(forward, 'next')}}}"
    )


def _functions(programs: Sequence[Program], constants: Sequence[float]) -> str:
    """Print one function for all stages."""
    text = ""
    for number, program in enumerate(programs):
        text += f"    if constexpr (kStage == {number}) {{\n"
        temporaries = sorted({i[2] for i in program if i[1] == "tmp"})
        if temporaries:
            text += f"      V {_list(f't{number}' for number in temporaries)};\n"
        for operation, *places in program:
            to, *operands = (
                _place(kind, index, constants)
                for kind, index in zip(places[::2], places[1::2], strict=True)
            )
            call = f"{operation}({_list('{}' for _ in operands)})"
            form = _OPERATIONS.get(str(operation), call)
            text += f"      {to} = {form.format(*operands)};\n"
        text += "    }\n"
    return text


def _place(kind: object, index: object, constants: Sequence[float]) -> str:
    assert isinstance(kind, str)
    assert isinstance(index, int)
    if kind == "tmp":
        return f"t{index}"
    if kind == "constant":
        return f"V({constants[index]!r})"
    return f"{_PLACES[kind]}[{index}]"
