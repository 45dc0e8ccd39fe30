"""Write operands as C++: registers, constants, addresses, and destinations."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .parser import Instruction, PtxError, bits, split_list

# Special registers and their C++; they are 32 bits wide unless the name says 64.
SPECIAL = {
    **{f"%tid.{axis}": f"threadIdx.{axis}" for axis in "xyz"},
    **{f"%ntid.{axis}": f"blockDim.{axis}" for axis in "xyz"},
    **{f"%ctaid.{axis}": f"blockIdx.{axis}" for axis in "xyz"},
    **{f"%nctaid.{axis}": f"gridDim.{axis}" for axis in "xyz"},
    "%laneid": "emulator::lane()",
    "%warpid": "warp_index()",
    "%lanemask_eq": "(1u << emulator::lane())",
    "%lanemask_lt": "((1u << emulator::lane()) - 1)",
    "%lanemask_le": "((2u << emulator::lane()) - 1)",
    "%lanemask_gt": "~((2u << emulator::lane()) - 1)",
    "%lanemask_ge": "~((1u << emulator::lane()) - 1)",
    "%cluster_ctarank": "cluster_rank()",
    "%cluster_nctarank": "cluster_size()",
    "%cluster_ctaid.x": "cluster_rank()",
    "%cluster_nctaid.x": "cluster_size()",
    "%clusterid.x": "(blockIdx.x / cluster_size())",
    "%nclusterid.x": "(gridDim.x / cluster_size())",
    "%clock": "clock()",
    "%clock64": "clock()",
    "%globaltimer": "clock()",
    "WARP_SZ": "32u",
}
INTEGER = re.compile(r"-?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|\d+)U?$")
EXACT_FLOAT = re.compile(r"0([fFdD])([0-9a-fA-F]+)$")
ADDRESS = re.compile(r"\[\s*([\w$%.]+)\s*(?:([+-])\s*(-?\d+|0[xX][0-9a-fA-F]+))?\s*\]$")
SYMBOL = re.compile(r"([\w$]+)\s*(?:\+\s*(\d+))?$")


@dataclass(frozen=True)
class Storage:
    """What a name stands for: memory, or a register if `space` is empty."""

    cpp: str  # a variable, a pointer to bytes or, in shared memory, the offset
    type: str
    space: str = ""


def type_name(type_: str) -> str:
    """Return the C++ name of a PTX type: the same name, or bits for types that are only copied."""
    return "b32" if type_ == "tf32" else type_


def carrier(type_: str) -> str:
    """Return the C++ type of a register: unsigned of its width, whatever it holds."""
    return "pred" if type_ == "pred" else f"b{bits(type_)}"


def plain(type_: str, register: str) -> bool:
    """Return whether a value of the type is the register itself, without a conversion."""
    return type_[0] in "bu" and type_[:2] != "bf" and bits(type_) == bits(register)


def constant(text: str, type_: str) -> str | None:
    """Return a literal as C++, or None if it is not a literal of this type."""
    if type_ == "pred":
        return {"0": "false", "1": "true", "-1": "true"}.get(text)
    width = bits(type_)
    if match := EXACT_FLOAT.match(text):
        ok = type_[0] in "fb" and width == (32 if match[1] in "fF" else 64)
        return constant_bits(int(match[2], 16), type_) if ok else None
    if not INTEGER.match(text) or type_ in ("f32", "f64"):
        return None
    digits = text.rstrip("U")
    octal = re.fullmatch(r"(-?)0(\d+)", digits)
    return constant_bits(int(digits, 8) if octal else int(digits, 0), type_)


def constant_bits(value: int, type_: str) -> str:
    """Return a value of a type from its bits (negative values from their two's complement)."""
    width = bits(type_)
    value &= (1 << width) - 1
    literal = f"{value if value < 1 << 16 else hex(value)}u"
    if type_[0] == "f" or type_[:2] == "bf":
        return f"as<{type_name(type_)}>(b{width}({literal}))"
    return literal if width == 32 and type_[0] != "s" else f"{type_name(type_)}({literal})"


class Names:
    """The names that the instructions of a function may use, by scope."""

    def __init__(self, symbols: dict[str, Storage], callable_: dict[str, str], entry: bool) -> None:
        self.scopes = [symbols]
        self.labels: list[dict[str, str]] = []  # one per scope of the body
        self.tables: dict[str, tuple[str, ...]] = {}
        self.callable = callable_  # functions of the file, with their C++ names
        self.entry = entry
        self.instruction: Instruction | None = None

    def error(self, what: str) -> PtxError:
        """Return an error that names the instruction and its line."""
        at = self.instruction
        if at is None:
            return PtxError(what)
        text = " ".join(f"{at.opcode} {', '.join(at.operands)}".split())
        return PtxError(f"{at.where.file}:{at.where.line}: {what}: {text}")

    def find(self, name: str) -> Storage | None:
        """Return the innermost storage of a name."""
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        return None

    def label(self, name: str) -> str:
        """Return the C++ label of a jump target."""
        for scope in reversed(self.labels):
            if name in scope:
                return scope[name]
        raise self.error(f"no label {name!r}")

    def value(self, text: str, type_: str) -> str:
        """Return an operand, read as a value of the type."""
        if text.startswith("!") and type_ == "pred":
            return f"!{self.value(text[1:].strip(), type_)}"
        if text in SPECIAL:
            return f"{type_name(type_)}({SPECIAL[text]})"
        if (literal := constant(text, type_)) is not None:
            return literal
        match = SYMBOL.match(text)
        storage = self.find(match[1] if match else text)
        if storage is None:
            raise self.error(f"{text!r} is neither a name nor a constant of type {type_}")
        if storage.space:
            offset = int(match[2] or 0) if match else 0
            if storage.space == "shared":
                return f"{type_name(type_)}({storage.cpp} + {offset}u)"
            return f"{type_name(type_)}(address_of({storage.cpp} + {offset}))"
        if (storage.type == "pred") != (type_ == "pred"):
            raise self.error(f"{text} is a register of type {storage.type}, not {type_}")
        if type_ == "pred" or plain(type_, storage.type):
            return storage.cpp
        return f"as<{type_name(type_)}>({storage.cpp})"

    def assign(self, text: str, type_: str, expression: str) -> str:
        """Return the statement that writes an expression to a typed register (`_`: to none)."""
        if text == "_":
            return f"static_cast<void>({expression});"
        storage = self.find(text)
        if storage is None or storage.space:
            raise self.error(f"{text!r} is not a register")
        if (storage.type == "pred") != (type_ == "pred"):
            raise self.error(f"{text} is a register of type {storage.type}, not {type_}")
        if type_ == "pred" or plain(type_, storage.type):
            return f"{storage.cpp} = {expression};"
        return f"put({storage.cpp}, {expression});"

    def location(self, text: str, space: str) -> tuple[str, str]:
        """Return the C++ of where `[name+offset]` is (in shared memory an offset) and its space."""
        match = ADDRESS.match(text)
        if not match:
            raise self.error(f"{text!r} is not an address")
        name, sign, digits = match.groups()
        offset = int(digits or "0", 0) * (-1 if sign == "-" else 1)
        space = {"shared::cta": "shared", "shared::cluster": "cluster"}.get(
            space, space.split("::")[0]
        )
        storage = self.find(name)
        if storage is not None and storage.space:
            if space not in ("", storage.space):
                raise self.error(f"{name} is in .{storage.space}, not in .{space}")
            space = storage.space
            if space != "shared":
                return f"({storage.cpp} + {offset})", "symbol"
        narrow = space in ("shared", "cluster")
        base = self.value(name, "b32" if narrow else "b64")
        if offset:
            base += f" + b32({offset})" if narrow else f" + {offset}"
        return base, space

    def address(self, text: str, space: str, size: int) -> str:
        """Return a pointer to what `[name+offset]` names, for an access of `size` bytes."""
        where, space = self.location(text, space)
        if space == "symbol":
            return where
        if space in ("shared", "cluster"):
            return f"{'cluster_' if space == 'cluster' else ''}shared({where}, {size})"
        return f"pointer({where})"

    def vector(self, text: str) -> list[str]:
        """Return the elements of `{a, b}`, or the single operand that stands alone."""
        return split_list(text[1:-1]) if text.startswith("{") else [text]
