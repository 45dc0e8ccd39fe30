"""Instructions whose C++ is more than one expression of their operands."""

from __future__ import annotations

from dataclasses import replace

from .forms import Call, flushed
from .operands import type_name
from .parser import bits, split_list

ELEMENTS = {"": 1, "v2": 2, "v4": 4, "v8": 8}


def unpacked(call: Call, targets: list[str], type_: str, expression: str) -> str:
    """Write the elements of a vector to registers."""
    if len(targets) == 1:
        return call.names.assign(targets[0], type_, expression)
    writes = " ".join(
        call.names.assign(target, type_, f"v[{place}]") for place, target in enumerate(targets)
    )
    return f"{{ const auto v = {expression}; {writes} }}"


def values(call: Call, text: str, type_: str) -> str:
    """Return the elements of a list operand, separated by commas."""
    return ", ".join(call.names.value(part, type_) for part in call.names.vector(text))


def access(call: Call, registers: str, address: str) -> tuple[int, str]:
    """Return the number of elements of a load or store, and its pointer."""
    count = ELEMENTS[call.modifiers.get("vec", "")]
    if len(call.names.vector(registers)) != count:
        raise call.names.error(f"expected {count} registers")
    size = count * bits(call.type()) // 8
    return count, call.names.address(address, call.modifiers.get("space", ""), size)


def ordered(call: Call, name: str) -> str:
    """Return the function of a plain load or store, or of one with an order."""
    order = "relaxed" if call.has("volatile") else call.modifiers.get("sem")
    return f"{name}_{order}" if order else name


def load(call: Call) -> str:
    """Translate ld: plain, or ordered if it says volatile, relaxed or acquire."""
    target, address = call.operands
    count, pointer = access(call, target, address)
    kind = type_name(call.type()) + (f", {count}" if count > 1 else "")
    expression = f"{ordered(call, 'load')}<{kind}>({pointer})"
    return unpacked(call, call.names.vector(target), call.type(), expression)


def store(call: Call) -> str:
    """Translate st: plain, or ordered if it says volatile, relaxed or release."""
    address, source = call.operands
    count, pointer = access(call, source, address)
    kind = type_name(call.type())
    value = values(call, source, call.type())
    if count > 1:
        value = f"Vector<{kind}, {count}>{{{value}}}"
    return f"{ordered(call, 'store')}({pointer}, {value});"


def move(call: Call) -> str:
    """Translate mov: a value, or a register joined from a list or split into one."""
    target, source = call.operands
    names, type_ = call.names, call.type()
    parts = names.vector(target if target.startswith("{") else source)
    part = f"b{bits(type_) // len(parts)}" if type_ != "pred" else type_
    if target.startswith("{"):
        expression = f"cut<{part}, {len(parts)}>({names.value(source, type_)})"
        return unpacked(call, parts, part, expression)
    if source.startswith("{"):
        return names.assign(target, type_, f"joined<{type_}>({values(call, source, part)})")
    return names.assign(target, type_, names.value(source, type_))


def combined(call: Call, comparison: str) -> str:
    """Join a comparison with the predicate operand, if there is one, by .and, .or or .xor."""
    if not call.has("bool"):
        return comparison
    operator = {"and": "&&", "or": "||", "xor": "!="}[call.modifiers["bool"]]
    return f"({comparison}) {operator} {call.names.value(call.operands[3], 'pred')}"


def compare(call: Call, type_: str) -> str:
    """Return the comparison of operands 1 and 2."""
    a, b = (flushed(call.names.value(text, type_), type_, call) for text in call.operands[1:3])
    return f"compare::{call.modifiers['cmp']}({a}, {b})"


def set_predicate(call: Call) -> str:
    """Translate setp: p is the comparison, q its opposite, each joined with the operand."""
    p, _, q = (part.strip() for part in call.operands[0].partition("|"))
    comparison = compare(call, call.type())
    if not q:
        return call.names.assign(p, "pred", combined(call, comparison))
    # compute both before either is written, because each may be the predicate operand
    first, second = combined(call, "v"), combined(call, "!v")
    return (
        f"{{ const pred v = {comparison}; const pred p = {first}, q = {second}; "
        f"{call.names.assign(p, 'pred', 'p')} {call.names.assign(q, 'pred', 'q')} }}"
    )


def set_value(call: Call) -> str:
    """Translate set: all ones, or 1.0, where the comparison holds."""
    result = combined(call, compare(call, call.type()))
    kind = call.modifiers["to"]
    return call.names.assign(call.operands[0], kind, f"flag<{kind}>({result})")


def atomic(call: Call) -> str:
    """Translate atom and red: the new value in memory and, if wanted, the old one."""
    target, address, *sources = call.operands
    names, type_ = call.names, call.type()
    pointer = names.address(address, call.modifiers["space"], bits(type_) // 8)
    order = call.modifiers["sem"] or "relaxed"
    arguments = ", ".join([pointer, *(names.value(source, type_) for source in sources)])
    operation = f"atomic_{call.modifiers['op']}<{order}, {type_name(type_)}>({arguments})"
    return names.assign(target, type_, operation)


def with_predicate(call: Call, type_: str, expression: str) -> str:
    """Assign to `d|p` from an expression that returns a result and a predicate."""
    d, _, p = (part.strip() for part in call.operands[0].partition("|"))
    value, valid = (
        call.names.assign(d, type_, "v.value"),
        call.names.assign(p or "_", "pred", "v.valid"),
    )
    return f"{{ const auto v = {expression}; {value} {valid} }}"


def shuffle(call: Call) -> str:
    """Translate shfl.sync."""
    arguments = ", ".join(call.names.value(text, "b32") for text in call.operands[1:])
    return with_predicate(call, "b32", f"shuffle_{call.modifiers['mode']}({arguments})")


def match_all(call: Call) -> str:
    """Translate match.all.sync."""
    value, mask = call.operands[1:]
    a, members = call.names.value(value, call.type()), call.names.value(mask, "b32")
    return with_predicate(call, "b32", f"match_all({a}, {members})")


def elect(call: Call) -> str:
    """Translate elect.sync, which selects one lane of the mask."""
    return with_predicate(call, "b32", f"elect({call.names.value(call.operands[1], 'b32')})")


def logic(call: Call) -> str:
    """Translate lop3.BoolOp: the result, and whether it is not zero, joined with a predicate."""
    a, b, c = (call.names.value(text, "b32") for text in call.operands[1:4])
    table, q = call.operands[4], call.names.value(call.operands[5], "pred")
    operator = {"and": "&&", "or": "||", "xor": "!="}[call.modifiers["bool"]]
    d, _, p = (part.strip() for part in call.operands[0].partition("|"))
    write = call.names.assign(d, "b32", "v")
    return (
        f"{{ const b32 v = lop3<{table}>({a}, {b}, {c}); const pred p = (v != 0) {operator} {q}; "
        f"{write} {call.names.assign(p, 'pred', 'p')} }}"
    )


def copy_async(call: Call) -> str:
    """Translate cp.async; if a source size is given, the bytes beyond it are zeros."""
    target, source, size, *given = call.operands
    if size not in (("16",) if call.modifiers["cop"] == "cg" else ("4", "8", "16")):
        raise call.names.error(f"a copy of {size} bytes")
    to = call.names.address(target, "shared", int(size))
    origin = call.names.address(source, "global", int(size))
    count = call.names.value(given[0], "b32") if given else size
    return f"copy_async<{size}>({to}, {origin}, {count});"


def store_async(call: Call) -> str:
    """Translate st.async: a store to another block's shared memory, completed on its mbarrier."""
    address, source, barrier = call.operands
    count = ELEMENTS[call.modifiers["vec"]]
    if len(call.names.vector(source)) != count:
        raise call.names.error(f"expected {count} registers")
    to, _ = call.names.location(address, "shared::cluster")
    counter, _ = call.names.location(barrier, "shared::cluster")
    value = f"Vector<{type_name(call.type())}, {count}>{{{values(call, source, call.type())}}}"
    return f"store_async({to}, {value}, {counter});"


def matrix_multiply(call: Call) -> str:
    """Translate mma, with fragments distributed over the lanes as in the PTX manual."""
    d, a, b, c = call.operands
    depth, kind = call.modifiers["shape"].rpartition("k")[2], type_name(call.modifiers["t"])
    if call.modifiers["t"] == "tf32":
        kind = "tf32"
    expression = (
        f"multiply<{kind}, {depth}>({{{values(call, a, 'b32')}}}, {{{values(call, b, 'b32')}}}, "
        f"{{{values(call, c, 'f32')}}})"
    )
    return unpacked(call, call.names.vector(d), "f32", expression)


def load_matrix(call: Call) -> str:
    """Translate ldmatrix, in which each lane gives the address of a row of eight 16-bit values."""
    target, address = call.operands
    where, _ = call.names.location(address, "shared")
    count = int(call.modifiers["count"][1:])
    transposed = "true" if call.has("trans") else "false"
    targets = call.names.vector(target)
    if len(targets) != count:
        raise call.names.error(f"expected {count} registers")
    writes = " ".join(call.names.assign(name, "b32", f"v[{i}]") for i, name in enumerate(targets))
    return f"{{ const auto v = load_matrix<{count}, {transposed}>({where}); {writes} }}"


def reduce(call: Call) -> str:
    """Translate red: an atomic operation without its old value."""
    return atomic(replace(call, operands=("_", *call.operands)))


def remote_arrival(call: Call) -> str:
    """Translate mbarrier.arrive on another block's barrier, which has no state to return."""
    where, _ = call.names.location(call.operands[1], "shared::cluster")
    return f"mbarrier_arrive_remote({where});"


def branch(call: Call) -> str:
    """Translate bra."""
    return f"goto {call.names.label(call.operands[0])};"


def branch_table(call: Call) -> str:
    """Translate brx.idx, which jumps by an index into a table of labels."""
    index, table = call.operands
    targets = call.names.tables.get(table)
    if targets is None:
        raise call.names.error(f"no table of branches {table!r}")
    cases = " ".join(
        f"case {place}: goto {call.names.label(label)};" for place, label in enumerate(targets)
    )
    return f"switch ({call.names.value(index, 'u32')}) {{ {cases} default: wrong_branch(); }}"


def invoke(call: Call) -> str:
    """Translate call to a function of the file; parameters are pointers to their bytes."""
    lists = [text for text in call.operands if text.startswith("(")]
    named = [text for text in call.operands if not text.startswith("(")]
    if len(named) != 1 or call.operands.index(named[0]) > 1 or len(lists) > 2:
        raise call.names.error("only direct calls are known")
    if named[0] not in call.names.callable:
        raise call.names.error(f"{named[0]!r} has no body in this file")
    arguments = []
    for name in (name for text in lists for name in split_list(text[1:-1])):
        storage = call.names.find(name)
        if storage is None or storage.space != "param":
            raise call.names.error(f"{name!r} is not a .param")
        arguments.append(storage.cpp)
    return f"{call.names.callable[named[0]]}({', '.join(arguments)});"


def leave(call: Call) -> str:
    """Translate exit, which ends the thread."""
    if not call.names.entry:
        raise call.names.error("exit is known in kernels only, not in functions that they call")
    return "return;"
