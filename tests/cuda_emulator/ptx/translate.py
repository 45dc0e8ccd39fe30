"""Join the parts: write functions, memory and the table of kernels of a PTX file as C++."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .forms import emit
from .opcodes import TABLE
from .operands import Names, Storage, carrier, constant
from .parser import (
    Brace,
    Function,
    Instruction,
    Label,
    Module,
    PtxError,
    Register,
    Statement,
    Targets,
    Variable,
    bits,
    parse,
)


def round_up(value: int, multiple: int) -> int:
    """Round up to the next multiple."""
    return -(-value // multiple) * multiple


def identifier(name: str) -> str:
    """Return a PTX name as a C++ name that no keyword and no function of the runtime has."""
    return re.sub(r"\W", "_", name) + ("" if name.startswith("%") else "_")


def array(variable: Variable, name: str) -> str:
    """Return the declaration of a variable's bytes."""
    return f"alignas({variable.align}) unsigned char {name}[{max(variable.size, 1)}]"


class SharedMemory:
    """The layout of a block's shared memory: first what functions share, then the kernel's own."""

    def __init__(self, module: Module) -> None:
        self.variables = [v for v in module.variables if v.space == "shared"]
        self.common: dict[str, int] = {}
        self.common_size = 0
        in_functions = {
            name
            for function in module.functions
            if not function.entry
            for name in names_in(function.body)
        }
        for variable in self.variables:
            if variable.name in in_functions:
                if variable.count is None:
                    raise PtxError(f"{variable.name}: dynamic shared memory in a function")
                self.common[variable.name] = round_up(self.common_size, variable.align)
                self.common_size = self.common[variable.name] + variable.size

    def place(self, function: Function) -> tuple[dict[str, int], int, bool]:
        """Return the offsets of a kernel's variables, the static size, and if more is dynamic."""
        places, size = dict(self.common), self.common_size
        used = names_in(function.body) if self.variables else set()
        own = [s for s in function.body if isinstance(s, Variable) and s.space == "shared"]
        fixed = [v for v in self.variables if v.name in used and v.count is not None]
        for variable in (*fixed, *own):
            if variable.name not in places:
                places[variable.name] = round_up(size, variable.align)
                size = places[variable.name] + variable.size
        dynamic = [v for v in self.variables if v.count is None and v.name in used]
        for variable in dynamic:
            size = round_up(size, variable.align)
        places |= {variable.name: size for variable in dynamic}
        return places, size, bool(dynamic)


def names_in(body: list[Statement]) -> set[str]:
    """Return all names that instructions mention."""
    return {
        name
        for statement in body
        if isinstance(statement, Instruction)
        for operand in statement.operands
        for name in re.findall(r"[\w$]+", operand)
    }


class Body:
    """A writer of the body of one function."""

    def __init__(self, function: Function, names: Names) -> None:
        self.function = function
        self.names = names
        self.scopes = 0

    def scope(self, start: int) -> Iterator[Statement]:
        """Return the statements of the scope that begins at one of them, without inner scopes."""
        depth = 0
        for place in range(start, len(self.function.body)):  # a slice would copy all the rest
            statement = self.function.body[place]
            if isinstance(statement, Brace):
                depth += 1 if statement.opens else -1
                if depth < 0:
                    break
            elif depth == 0:
                yield statement

    def labels(self, start: int) -> dict[str, str]:
        """Return the labels of the scope that begins at a statement, as jumps may go forward."""
        return {
            statement.name: f"{identifier(statement.name)}{self.scopes or ''}"
            for statement in self.scope(start)
            if isinstance(statement, Label)
        }

    def lines(self) -> Iterator[str]:
        """Return the lines of the body."""
        names = self.names
        names.labels.append(self.labels(0))
        names.tables = {s.name: s.labels for s in self.function.body if isinstance(s, Targets)}
        yield from self.declarations(0)
        for place, statement in enumerate(self.function.body):
            if isinstance(statement, Brace) and statement.opens:
                self.scopes += 1
                names.scopes.append({})
                names.labels.append(self.labels(place + 1))
                yield "{"
                yield from self.declarations(place + 1)
            elif isinstance(statement, Brace):
                names.scopes.pop()
                names.labels.pop()
                yield "}"
            elif isinstance(statement, Label):
                yield f"{names.label(statement.name)}: __attribute__((unused));"
            elif isinstance(statement, Instruction):
                yield from self.instruction(statement)

    def declarations(self, start: int) -> Iterator[str]:
        """Return the registers and memory of the scope that begins at a statement."""
        scope = self.names.scopes[-1]
        registers: dict[str, list[str]] = {}
        for statement in self.scope(start):
            if isinstance(statement, Register):
                name = identifier(statement.name)
                scope[statement.name] = Storage(name, statement.type)
                registers.setdefault(carrier(statement.type), []).append(name)
            elif isinstance(statement, Variable) and statement.space != "shared":
                name = identifier(statement.name)
                scope[statement.name] = Storage(name, statement.type, statement.space)
                yield f"{array(statement, name)};"
                if statement.space == "local":  # reads of unwritten memory give NaN
                    yield f"std::memset({name}, 0xff, sizeof {name});"
        for type_, members in registers.items():
            yield f"[[maybe_unused]] {type_} {', '.join(members)};"

    def instruction(self, instruction: Instruction) -> Iterator[str]:
        """Return the statement of an instruction, marked with the source line it comes from."""
        self.names.instruction = instruction
        form, call = TABLE.call(self.names, instruction.opcode, instruction.operands)
        statement = emit(form, call)
        if instruction.guard:
            guard = self.names.value(instruction.guard, "pred")
            statement = f"if ({'!' if instruction.negated else ''}{guard}) {{ {statement} }}"
        source = instruction.source
        yield f'#line {source.line} "{source.file}"'
        yield statement


class Translator:
    """A writer of a whole file."""

    def __init__(self, module: Module, path: str) -> None:
        self.module = module
        self.path = path
        self.shared = SharedMemory(module)
        self.symbols: dict[str, Storage] = {}
        self.callable = {
            f.name: f"function_{identifier(f.name)}" for f in module.functions if not f.entry
        }

    def memory(self) -> Iterator[str]:
        """Return global and constant variables with their values."""
        for variable in self.module.variables:
            if variable.space == "shared":
                continue
            if variable.count is None:
                raise PtxError(f"{self.path}: {variable.name} is defined in another file")
            name = f"variable_{identifier(variable.name)}"
            self.symbols[variable.name] = Storage(name, variable.type, variable.space)
            yield f"{array(variable, name)};"
        for variable in self.module.variables:
            if variable.values:
                yield from self.initialiser(variable)

    def initialiser(self, variable: Variable) -> Iterator[str]:
        """Return the code that fills a variable when the library is loaded."""
        name, type_ = self.symbols[variable.name].cpp, variable.type
        names = Names(self.symbols, {}, False)
        stored = f"b{bits(type_)}"
        literals = []
        for text in variable.values:
            text = re.sub(r"generic\(\s*([\w$]+)\s*\)", r"\1", text.strip())
            literals.append(constant(text, stored) or names.value(text, stored))
        yield (
            f"static const bool initialised_{name} = "
            f"initialise<{stored}>({name}, {{{', '.join(literals)}}});"
        )

    def signature(self, function: Function) -> str:
        """Return the head of a called function, with a pointer for each result and parameter."""
        pointers = [f"unsigned char* {identifier(v.name)}" for v in function.results]
        pointers += [f"const unsigned char* {identifier(v.name)}" for v in function.parameters]
        pointers = [f"[[maybe_unused]] {pointer}" for pointer in pointers]
        return f"[[maybe_unused]] static void {self.callable[function.name]}({', '.join(pointers)})"

    def called(self, function: Function) -> Iterator[str]:
        """Return a function that kernels call."""
        symbols = self.symbols | {
            name: Storage(f"{place}u", "b8", "shared") for name, place in self.shared.common.items()
        }
        for variable in (*function.results, *function.parameters):
            symbols[variable.name] = Storage(identifier(variable.name), variable.type, "param")
        yield f"{self.signature(function)} {{"
        yield from self.body(function, Names(symbols, self.callable, False))

    def kernel(self, function: Function) -> Iterator[str]:
        """Return a kernel and its entry in the list of kernels."""
        symbols, offset = dict(self.symbols), 0
        for variable in function.parameters:
            offset = round_up(offset, variable.align)
            symbols[variable.name] = Storage(f"(parameters + {offset})", variable.type, "param")
            offset += variable.size
        places, static_bytes, dynamic = self.shared.place(function)
        for name, place in places.items():
            symbols[name] = Storage(f"{place}u", "b8", "shared")
        limit = 1
        for size in function.limits.get("maxntid", function.limits.get("reqntid", (1024,))):
            limit *= size
        name = f"kernel_{identifier(function.name)}"
        yield f"static void {name}([[maybe_unused]] const unsigned char* parameters) {{"
        yield from self.body(function, Names(symbols, self.callable, True))
        yield (
            f'static const Kernel entry_{name}("{function.name}", {name}, {offset}, '
            f"{static_bytes}, {'true' if dynamic else 'false'}, {limit});"
        )

    def body(self, function: Function, names: Names) -> Iterator[str]:
        """Return what stands between a function's braces."""
        yield "[[maybe_unused]] pred carry = false;"
        yield from Body(function, names).lines()
        yield "}"

    def lines(self) -> Iterator[str]:
        """Return the whole file."""
        yield f"// Made from {self.path} by tests/cuda_emulator/ptx."
        yield '#include "ptx/runtime.h"'
        yield "namespace emulator::ptx {"
        yield "namespace {"
        yield from self.memory()
        functions = [f for f in self.module.functions if not f.entry]
        yield from (f"{self.signature(function)};" for function in functions)
        for function in functions:
            yield from self.called(function)
        for function in self.module.functions:
            if function.entry:
                yield from self.kernel(function)
        yield "}  // namespace"
        yield "}  // namespace emulator::ptx"


def translate(text: str, path: str) -> str:
    """Return C++ for a PTX file; errors, and #line where there is no .loc, refer to it by `path`.

    Raises:
        PtxError: If something is not known, with the file and line.
    """
    return "\n".join(Translator(parse(text, path), path).lines()) + "\n"
