"""Read PTX: modules, functions, variables, registers, instructions, each with its line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field


class PtxError(Exception):
    """PTX that cannot be translated; the message begins with the file and the line."""


@dataclass(frozen=True)
class Location:
    """A source line: in the .cu file if .loc gives it, otherwise in the PTX itself."""

    file: str
    line: int


@dataclass(frozen=True)
class Variable:
    """A declaration in a state space: `.shared .align 4 .b8 name[128]`."""

    space: str
    type: str
    name: str
    align: int
    count: int | None  # elements, or None for an array of open size
    values: tuple[str, ...] = ()  # the initialiser, flattened

    @property
    def size(self) -> int:
        """Return the size in bytes, or 0 for an array of open size."""
        return (self.count or 0) * bits(self.type) // 8


@dataclass(frozen=True)
class Register:
    """A declaration of registers; `.reg .b32 %r<5>` declares %r0 to %r4, one by one."""

    name: str
    type: str


@dataclass(frozen=True)
class Label:
    """A jump target."""

    name: str


@dataclass(frozen=True)
class Targets:
    """A table of branches: `name: .branchtargets L0, L1`."""

    name: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Brace:
    """The start or end of a scope."""

    opens: bool


@dataclass(frozen=True)
class Instruction:
    """One instruction; `guard` is the register of `@%p1` or `@!%p1`."""

    opcode: str
    operands: tuple[str, ...]
    guard: str | None
    negated: bool
    where: Location  # in the PTX, for error messages
    source: Location  # for #line


Statement = Variable | Register | Label | Targets | Brace | Instruction


@dataclass
class Function:
    """An .entry or .func with its body; `limits` are directives such as maxntid."""

    name: str
    entry: bool
    results: list[Variable]
    parameters: list[Variable]
    limits: dict[str, tuple[int, ...]]
    body: list[Statement] = field(default_factory=list)


@dataclass
class Module:
    """A whole PTX file."""

    variables: list[Variable] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)


def bits(type_: str) -> int:
    """Return the width of a PTX type; predicates count as 1."""
    if type_ == "pred":
        return 1
    match = re.fullmatch(r"(?:[busf]|bf|tf)(\d+)(?:x(\d))?", type_)
    if not match:
        raise ValueError(type_)
    return 32 if type_ == "tf32" else int(match[1]) * int(match[2] or 1)


def split_list(text: str, separator: str = ",") -> list[str]:
    """Split at the separators that are outside all brackets."""
    parts, depth, start = [], 0, 0
    for place, character in enumerate(text):
        depth += (character in "{[(") - (character in "}])")
        if character == separator and depth == 0:
            parts.append(text[start:place].strip())
            start = place + 1
    last = text[start:].strip()
    return [*parts, last] if last or parts else []


NAME = r"[\w$%.]+"
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
# directives that end with their line get the semicolon that all others have
LINE_DIRECTIVE = re.compile(r"^([ \t]*\.(?:version|target|address_size|file|loc)\b[^\n]*)$", re.M)
SECTION = re.compile(r"^[ \t]*\.section\b[^{]*\{[^}]*\}", re.MULTILINE)
FUNCTION = re.compile(
    r"(?:\.(?:visible|weak|extern)\s+)*\.(entry|func)\b\s*(?:\(([^)]*)\)\s*)?"
    rf"({NAME})\s*(?:\(([^)]*)\))?\s*([^()]*)$"
)
VARIABLE = re.compile(
    r"(?:\.(?:visible|extern|weak|common)\s+)*\.(global|const|shared|local|param)\s+"
    r"(?:\.align\s+(\d+)\s+)?(?:\.v([24])\s+)?\.(\w+)\s+"
    r"(?:\.ptr\s+(?:\.(?:global|shared|const|local)\s+)?(?:\.align\s+\d+\s+)?)?"
    rf"({NAME})\s*((?:\[\s*\d*\s*\]\s*)*)(?:=\s*(.*))?$",
    re.DOTALL,
)
INSTRUCTION = re.compile(rf"(?:@(!?)\s*({NAME})\s+)?([a-z][\w.:]*)(?:\s+(.*))?$", re.DOTALL)


@dataclass(frozen=True)
class Piece:
    """The text up to a semicolon, a label or a brace, with its line."""

    text: str
    line: int


def pieces(text: str) -> Iterator[Piece]:
    """Cut the source; a brace after text belongs to it, as an operand list or an initialiser."""
    start, depth, line, counted = 0, 0, 1, 0
    for mark in re.finditer(r"[{};]|(?<!:):(?!:)", text):
        place, character = mark.start(), mark[0]
        current = text[start:place].strip()
        alone = depth == 0 and (not current or FUNCTION.match(current) is not None)
        if character in "{}" and not alone:
            depth += 1 if character == "{" else -1
            continue
        if depth or (character == ":" and not re.fullmatch(r"[$\w]+", current)):
            continue
        begin = place - len(text[start:place].lstrip())
        line, counted = line + text.count("\n", counted, begin), begin
        if current:
            yield Piece(current + ":" * (character == ":"), line)
        if character in "{}":
            yield Piece(character, line)
        start = place + 1
    if text[start:].strip():
        yield Piece(text[start:].strip(), line)


class Parser:
    """A single pass over the pieces of a file."""

    def __init__(self, text: str, path: str) -> None:
        self.path = path
        self.module = Module()
        self.files: dict[int, str] = {}
        self.function: Function | None = None
        self.depth = 0
        self.source: tuple[int, int] | None = None  # of .loc: file, line
        for pattern in (COMMENT, SECTION):
            text = pattern.sub(lambda found: "\n" * found[0].count("\n"), text)
        for number, name in re.findall(r'^[ \t]*\.file\s+(\d+)\s+"([^"]*)"', text, re.MULTILINE):
            self.files[int(number)] = name
        for piece in pieces(LINE_DIRECTIVE.sub(r"\1;", text)):
            self.read(piece)
        if self.function:
            raise PtxError(f"{path}: the body of {self.function.name} has no end")

    def error(self, piece: Piece, what: str) -> PtxError:
        """Return an error at a piece."""
        return PtxError(f"{self.path}:{piece.line}: {what}: {' '.join(piece.text.split())}")

    def read(self, piece: Piece) -> None:
        """Read one piece, wherever it stands."""
        text = piece.text
        if self.function and self.depth == 0:  # between a function's head and its body
            if text == "{":
                self.depth = 1
                return
            self.function = None  # a declaration, whose body is elsewhere
        if self.function:
            self.read_in_body(self.function, piece)
        elif match := FUNCTION.match(text):
            self.function = self.head(match, piece)
            self.source = None
        elif VARIABLE.match(text):
            self.module.variables.append(self.variable(piece, text))
        elif not re.match(r"\.(version|target|address_size|file|loc|pragma|alias)\b", text):
            raise self.error(piece, "unknown directive")

    def read_in_body(self, function: Function, piece: Piece) -> None:
        """Read a piece of a function's body."""
        text, body = piece.text, function.body
        if text in "{}":
            self.depth += 1 if text == "{" else -1
            if self.depth == 0:
                self.module.functions.append(function)
                self.function = None
            else:
                body.append(Brace(text == "{"))
        elif text.endswith(":"):
            body.append(Label(text[:-1]))
        elif match := re.match(r"\.loc\s+(\d+)\s+(\d+)", text):
            self.source = (int(match[1]), int(match[2]))
        elif match := re.match(r"\.reg\s+(?:\.v[24]\s+)?\.(\w+)\s+(.*)$", text, re.DOTALL):
            body.extend(self.registers(match[1], match[2]))
        elif match := re.match(r"\.branchtargets\s+(.*)$", text, re.DOTALL):
            label = body.pop()
            if not isinstance(label, Label):
                raise self.error(piece, "a table of branches without a name")
            body.append(Targets(label.name, tuple(split_list(match[1]))))
        elif VARIABLE.match(text):
            body.append(self.variable(piece, text))
        elif text.startswith("."):
            if not text.startswith(".pragma"):
                raise self.error(piece, "unknown directive")
        else:
            body.append(self.instruction(piece))

    def head(self, match: re.Match[str], piece: Piece) -> Function:
        """Return a function from its head."""
        kind, results, name, parameters, directives = match.groups()
        limits = {}
        for directive, numbers in re.findall(r"\.(\w+)((?:\s+\d+(?:\s*,\s*\d+)*)?)", directives):
            limits[directive] = tuple(int(number) for number in re.findall(r"\d+", numbers))
        return Function(
            name,
            kind == "entry",
            [self.variable(piece, part) for part in split_list(results or "")],
            [self.variable(piece, part) for part in split_list(parameters or "")],
            limits,
        )

    def variable(self, piece: Piece, text: str) -> Variable:
        """Return a variable from its declaration."""
        match = VARIABLE.match(text)
        if not match:
            raise self.error(piece, f"unknown declaration {text!r} in")
        space, align, vector, type_, name, dimensions, values = match.groups()
        count: int | None = int(vector or 1)
        for dimension in re.findall(r"\[\s*(\d*)\s*\]", dimensions):
            count = count * int(dimension) if dimension and count is not None else None
        flat = re.sub(r"[{}]", " ", values) if values else ""
        natural = bits(type_) // 8 * int(vector or 1)
        return Variable(
            space, type_, name, int(align or natural), count, tuple(split_list(flat.strip()))
        )

    def registers(self, type_: str, names: str) -> Iterator[Register]:
        """Return the registers of a declaration."""
        for name in split_list(names):
            many = re.fullmatch(rf"({NAME})<(\d+)>", name)
            for number in range(int(many[2]) if many else 1):
                yield Register(f"{many[1]}{number}" if many else name, type_)

    def instruction(self, piece: Piece) -> Instruction:
        """Return an instruction from its text."""
        match = INSTRUCTION.match(piece.text)
        if not match:
            raise self.error(piece, "not an instruction")
        negated, guard, opcode, operands = match.groups()
        where = Location(self.path, piece.line)
        source = where
        if self.source:
            number, line = self.source
            source = Location(self.files.get(number, self.path), line)
        return Instruction(
            opcode, tuple(split_list(operands or "")), guard, negated == "!", where, source
        )


def parse(text: str, path: str) -> Module:
    """Read a PTX file; error messages and #line refer to it by `path`."""
    return Parser(text, path).module
