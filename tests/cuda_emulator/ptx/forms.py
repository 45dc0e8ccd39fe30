"""The notation of the table of opcodes, and how an instruction finds its entry.

A pattern is written as in the PTX manual: `add{.rnd}{.ftz}{.sat}.f32`. Parts in braces are
optional. A name that is in SETS, or that the entry gives as a keyword, stands for one of several.
Each operand is one word, with its type after a colon (the instruction's `.t` if none is given;
is given; `2t` is twice as wide, `ut` unsigned):

    a        a value              =d       a register that gets the value of the expression
    !c       a predicate          #n       an integer known to the translator
    [a]      an address           ...      any number of operands, for the code to look at

The code is a C++ expression with operands and modifiers in braces, or a function of `Call`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from .operands import Names, type_name
from .parser import bits

SETS: dict[str, str] = {
    "rnd": "rn rz rm rp",
    "irnd": "rni rzi rmi rpi",
    "scope": "cta cluster gpu sys",
    "shared": "shared shared::cta",
    "evict": "L1::evict_normal L1::evict_unchanged L1::evict_first L1::evict_last L1::no_allocate",
    "prefetch": "L2::64B L2::128B L2::256B",
    "vec": "v2 v4 v8",
    "bool": "and or xor",
}
# What a modifier that is missing stands for in the code.
DEFAULTS = {"rnd": "rn"}


@dataclass(frozen=True)
class Call:
    """An instruction with its matching entry: everything that the code of an entry may use."""

    names: Names
    modifiers: Mapping[str, str]
    operands: tuple[str, ...]

    def has(self, *modifiers: str) -> bool:
        """Return whether one of the modifiers was written."""
        return any(self.modifiers.get(name) for name in modifiers)

    def type(self, name: str = "t") -> str:
        """Return a type by its name in the pattern: `t`, `2t`, `ut`, or the type itself."""
        if name == "2t":
            base = self.modifiers["t"]
            return f"{base[0]}{bits(base) * 2}"
        if name == "ut":
            return f"u{bits(self.modifiers['t'])}"
        return self.modifiers.get(name, name)


Code = str | Callable[[Call], str]


@dataclass(frozen=True)
class Form:
    """An entry of the table."""

    pattern: str
    operands: tuple[str, ...]
    code: Code
    sets: Mapping[str, str] = field(default_factory=dict)

    @functools.cached_property
    def parts(self) -> list[tuple[str, tuple[str, ...], bool]]:
        """Return the modifiers in order: name, alternatives, and whether each may be missing."""
        parts = []
        for text in re.findall(r"\{?\.[\w:]+\}?", self.pattern):
            name = text.strip("{.}")
            alternatives = self.sets.get(name) or SETS.get(name, name)
            parts.append((name, tuple(alternatives.split()), text.startswith("{")))
        return parts

    @functools.cached_property
    def regex(self) -> re.Pattern[str]:
        """Return the regular expression for opcodes of this entry, with a group per modifier."""
        text = re.escape(re.split(r"[{.]", self.pattern)[0])
        seen: list[str] = []
        for name, alternatives, optional in self.parts:
            longest_first = sorted(alternatives, key=len, reverse=True)
            choice = "|".join(map(re.escape, longest_first))
            if name in seen:  # must be the same modifier again
                choice = rf"\{seen.index(name) + 1}"
            text += rf"(?:\.({choice})){'?' if optional else ''}"
            seen.append(name)
        return re.compile(text + "$")

    def match(self, opcode: str) -> dict[str, str] | None:
        """Return the modifiers of an opcode of this entry, or None if it does not match."""
        found = self.regex.match(opcode)
        if not found:
            return None
        names = [name for name, _, _ in self.parts]
        return dict(DEFAULTS) | {
            name: text or DEFAULTS.get(name, "")
            for name, text in zip(names, found.groups(), strict=True)
        }

    def choices(self) -> Iterable[tuple[str, str]]:
        """Return every alternative of every modifier, for the tests to cover."""
        for name, alternatives, _ in self.parts:
            for alternative in alternatives:
                yield name, alternative


def floating(type_: str) -> bool:
    """Return whether the type is a floating-point type."""
    return type_[0] == "f" or type_.startswith("bf")


def flushed(expression: str, type_: str, call: Call) -> str:
    """Flush subnormal operands or results to zero if .ftz asks for it; in cvt, only 32-bit ones."""
    concerned = floating(type_) and type_ in ("f32", call.modifiers.get("t"))
    return f"flush({expression})" if call.has("ftz") and concerned else expression


def finished(expression: str, type_: str, call: Call) -> str:
    """Return the value of an expression after .relu, .sat and .ftz."""
    if floating(type_):
        if call.has("relu"):
            expression = f"rectified({expression})"
        if call.has("sat"):
            expression = f"saturated({expression})"
    return flushed(expression, type_, call)


def operand(word: str, text: str, call: Call) -> str:
    """Return one operand that is read, as C++."""
    names = call.names
    match = WORD.match(word)
    if not match:
        raise ValueError(word)
    kind, _, type_ = match.groups()
    type_ = call.type("pred" if kind == "!" else type_ or "t")
    if kind == "[":
        space = next(
            (call.modifiers[key] for key in ("space", "shared") if key in call.modifiers), ""
        )
        return names.address(text, space, bits(type_) // 8)
    if kind == "#":
        if not re.fullmatch(r"-?\d+|0[xX][0-9a-fA-F]+", text):
            raise names.error(f"{text} must be a constant")
        return text
    return flushed(names.value(text, type_), type_, call)


WORD = re.compile(r"([=!#\[]?)(\w+)\]?(?::(\w+))?$")


def emit(form: Form, call: Call) -> str:
    """Return the C++ statement of an instruction."""
    if callable(form.code):
        return form.code(call)
    fields = {name: type_name(text) for name, text in call.modifiers.items()}
    result = None
    for word, text in zip(form.operands, call.operands, strict=True):
        match = WORD.match(word)
        if match and match[1] == "=":
            result = text, call.type(match[3] or "t")
        elif match:
            fields[match[2]] = operand(word, text, call)
    expression = form.code.format(**fields)
    if result is None:
        return expression + ";"
    text, type_ = result
    return call.names.assign(text, type_, finished(expression, type_, call))


class Table:
    """All entries, found by the first word of the opcode."""

    def __init__(self, forms: Iterable[Form]) -> None:
        self.forms = tuple(forms)
        self.by_word: dict[str, list[Form]] = {}
        for form in self.forms:
            self.by_word.setdefault(re.split(r"[{.]", form.pattern)[0], []).append(form)
        self.find = functools.lru_cache(maxsize=None)(self._find)

    def _find(self, opcode: str, operands: int) -> tuple[Form, dict[str, str]] | str:
        """Return the entry of an opcode with that many operands, or what is wrong."""
        forms = self.by_word.get(opcode.split(".")[0])
        if not forms:
            return "unknown instruction"
        matches = [(form, found) for form in forms if (found := form.match(opcode)) is not None]
        if not matches:
            known = ", ".join(sorted({form.pattern for form in forms}))
            return f"unknown modifier or type (known: {known})"
        for form, found in matches:
            if len(form.operands) == operands or "..." in form.operands:
                return form, found
        return f"{operands} operands"

    def call(self, names: Names, opcode: str, operands: tuple[str, ...]) -> tuple[Form, Call]:
        """Return the entry of an instruction with what it was called with."""
        found = self.find(opcode, len(operands))
        if isinstance(found, str):
            raise names.error(found)
        return found[0], Call(names, found[1], operands)


def form(pattern: str, operands: str, code: Code, **sets: str) -> Form:
    """Make an entry of the table."""
    return Form(pattern, tuple(operands.split()), code, sets)
