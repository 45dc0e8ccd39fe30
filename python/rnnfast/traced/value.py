"""Symbolic values of a step, whose operations become nodes of a graph."""

from __future__ import annotations

import functools
import numbers
import operator
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import numpy as np

from rnnfast.reference import cell as reference_cell
from rnnfast.reference import tape
from rnnfast.traced.graph import Graph, Node

OWN_FILES = {str(path) for path in Path(__file__).parent.glob("*.py")}
OWN_FILES |= {functools.__file__, tape.__file__, reference_cell.__file__}
_OPERATORS: dict[Any, Callable[[Any, Any], Any]] = {
    np.add: operator.add,
    np.subtract: operator.sub,
    np.multiply: operator.mul,
    np.true_divide: operator.truediv,
    np.greater: operator.gt,
    np.greater_equal: operator.ge,
    np.less: operator.lt,
    np.less_equal: operator.le,
}
"""What NumPy makes of an operator one side of which is a number of its own."""
_BRANCH = (
    "a step is traced once, for all units and all steps, so its values are neither true nor false; "
    "write where(a > b, this, that), maximum(a, b) or minimum(a, b) in place of if, and, or, not, "
    "max, min and chained comparisons"
)


class CellError(ValueError):
    """A step cannot be compiled; the message names the line and suggests a replacement."""


def fail(message: str) -> NoReturn:
    """Raise `CellError` with the current line of the step."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename in OWN_FILES:
        frame = frame.f_back
    where = "" if frame is None else f"{frame.f_code.co_filename}, line {frame.f_lineno}: "
    raise CellError(where + message)


class Value:
    """A value of a step while it is traced.

    It has the operators of `rnnfast.reference.tape.Var`, and the functions of that module accept
    it. Operations that no kernel supports (truth value, indexing, NumPy functions) raise a
    `CellError`.
    """

    __slots__ = ("graph", "node")

    def __init__(self, graph: Graph, node: Node) -> None:
        self.graph = graph
        self.node = node

    def __repr__(self) -> str:
        return f"<value of the step: {self.node.op}>"

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(
            f"{name}: a value of a step has no attributes; use operators and the functions of "
            f"rnnfast.cells ({', '.join(tape.__all__)})"
        )

    def _with(self, op: str, other: object, *, swapped: bool = False) -> Value:
        a, b = self.node, _node(self, other, _SYMBOLS[op])
        a, b = (b, a) if swapped else (a, b)
        return _made(self.graph, lambda: getattr(self.graph, op)(a, b))

    def _compared(self, other: object, symbol: str, *, swapped: bool, negated: bool) -> Condition:
        a, b = self.node, _node(self, other, symbol)
        a, b = (b, a) if swapped else (a, b)
        return Condition(self.graph, self.graph.apply("greater", a, b), negated)

    def __add__(self, other: object) -> Value:
        return self._with("add", other)

    def __radd__(self, other: object) -> Value:
        return self._with("add", other, swapped=True)

    def __sub__(self, other: object) -> Value:
        return self._with("sub", other)

    def __rsub__(self, other: object) -> Value:
        return self._with("sub", other, swapped=True)

    def __mul__(self, other: object) -> Value:
        return self._with("mul", other)

    def __rmul__(self, other: object) -> Value:
        return self._with("mul", other, swapped=True)

    def __truediv__(self, other: object) -> Value:
        return self._with("div", other)

    def __rtruediv__(self, other: object) -> Value:
        return self._with("div", other, swapped=True)

    def __neg__(self) -> Value:
        return Value(self.graph, self.graph.neg(self.node))

    def __abs__(self) -> Value:
        return _apply("abs", self)

    def __pow__(self, exponent: object) -> Value:
        if not _is_number(exponent) or not -64 <= exponent <= 64:  # type: ignore[operator]
            fail(
                f"v ** c: expected a number c between -64 and 64, got {_short(exponent)}; write "
                "exp(c * log(v))"
            )
        return _made(self.graph, lambda: self.graph.power(self.node, float(exponent)))  # type: ignore[arg-type]

    def __gt__(self, other: object) -> Condition:
        return self._compared(other, ">", swapped=False, negated=False)

    def __lt__(self, other: object) -> Condition:
        return self._compared(other, "<", swapped=True, negated=False)

    def __ge__(self, other: object) -> Condition:
        return self._compared(other, ">=", swapped=True, negated=True)

    def __le__(self, other: object) -> Condition:
        return self._compared(other, "<=", swapped=False, negated=True)

    def __eq__(self, other: object) -> NoReturn:
        fail(
            "a == b: values of a step cannot be compared by ==; write two comparisons with <, "
            "<=, > or >="
        )

    def __ne__(self, other: object) -> NoReturn:
        fail(
            "a != b: values of a step cannot be compared by !=; write two comparisons with <, "
            "<=, > or >="
        )

    __hash__ = object.__hash__

    def __bool__(self) -> NoReturn:
        fail(f"bool(v): {_BRANCH}")

    def __float__(self) -> NoReturn:
        fail(
            "expected a number, got a value of the step, which has no number while the step is "
            "traced; use the functions of rnnfast.cells, such as rnnfast.cells.tanh, in place of "
            "those of math"
        )

    __int__ = __index__ = __complex__ = __round__ = __trunc__ = __floor__ = __ceil__ = __float__

    def __getitem__(self, _item: object) -> NoReturn:
        fail(
            "a value of a step has no items: its equations are those of a single unit, and only "
            "recurrent(v) and normalize(v) combine units"
        )

    __iter__ = __len__ = lambda self: self.__getitem__(0)

    def __matmul__(self, _other: object) -> NoReturn:
        fail(
            "a @ b: a step has no access to weights; write recurrent(v, block) for the product of "
            "a row block of weight_hh and v"
        )

    __rmatmul__ = __matmul__

    def __rpow__(self, base: object) -> NoReturn:
        fail(
            f"{base!r} ** v: expected a number as exponent, got a value of the step; write exp(c "
            f"* v), where c is the logarithm of {base!r}"
        )

    def __mod__(self, _other: object) -> NoReturn:
        fail(
            "%, // and divmod: not available for values of a step, as their derivatives are "
            "useless for training"
        )

    __rmod__ = __floordiv__ = __rfloordiv__ = __divmod__ = __rdivmod__ = __mod__

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """Accept NumPy's numbers as numbers, but raise an error for its functions."""
        operands = [v.item() if isinstance(v, np.number) else v for v in inputs]
        if ufunc not in _OPERATORS or method != "__call__" or options:
            fail(_foreign(f"np.{ufunc.__name__}"))
        if any(isinstance(v, np.ndarray) for v in operands):
            fail("expected a value of the step or a number as the other operand, got an array")
        return _OPERATORS[ufunc](*operands)

    def __array_function__(self, function: Any, *_: Any) -> NoReturn:
        fail(_foreign(f"np.{function.__name__}"))

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        fail(_foreign("a function of NumPy"))

    @classmethod
    def __torch_function__(cls, function: Any, *_: Any) -> NoReturn:
        fail(_foreign(f"torch.{getattr(function, '__name__', function)}"))


class Condition:
    """The result of a comparison, which only `where` accepts."""

    __slots__ = ("graph", "negated", "node")

    def __init__(self, graph: Graph, node: Node, negated: bool) -> None:
        self.graph = graph
        self.node = node
        self.negated = negated

    def __bool__(self) -> NoReturn:
        fail(f"bool(a > b): {_BRANCH}")

    def _alone(self, *_: object) -> NoReturn:
        fail(
            "a comparison can only be used in where(condition, a, b); write where(condition, 1.0, "
            "0 * a) for a value of 1 or 0, and nest where to combine conditions"
        )

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = _alone
    __rtruediv__ = __neg__ = __invert__ = __and__ = __rand__ = __or__ = __ror__ = _alone
    __xor__ = __rxor__ = __float__ = __abs__ = __pow__ = _alone


_SYMBOLS = {"add": "+", "sub": "-", "mul": "*", "div": "/"}


def _foreign(name: str) -> str:
    return (
        f"{name}: values of a step are symbols, which only operators and the functions of "
        f"rnnfast.cells ({', '.join(tape.__all__)}) accept; write rnnfast.cells.tanh(v), for "
        "example"
    )


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _node(beside: Value, other: object, what: str) -> Node:
    """Return the node of an operand: a value of the same step, or a number."""
    if isinstance(other, Value):
        if other.graph is not beside.graph:
            fail(
                f"{what}: expected a value of this step, got one of another step; a step must "
                "not keep its values"
            )
        return other.node
    if isinstance(other, Condition):
        other._alone()
    if not _is_number(other):
        fail(f"{what}: expected a value of the step or a number, got {_short(other)}")
    try:
        number = float(other)  # type: ignore[arg-type]
    except OverflowError:  # an integer of more than 1024 bits
        number = np.inf
    if not np.isfinite(number):
        fail(f"{what}: expected a finite number, got {number}")
    return beside.graph.const(number)


def _short(value: object) -> str:
    text = repr(value)
    text = text if len(text) <= 60 else text[:57] + "..."
    return f"{text} of type {type(value).__name__}"


def _made(graph: Graph, make: Callable[[], Node]) -> Value:
    """Return the value that `make` computes; report errors of arithmetic on constants."""
    try:
        node = make()
    except (ArithmeticError, ValueError) as error:
        fail(f"arithmetic on constants: {error}")
    constant = node.constant
    if isinstance(constant, complex) or (constant is not None and not np.isfinite(constant)):
        fail(f"arithmetic on constants: expected a finite result, got {constant}")
    return Value(graph, node)


def _apply(op: str, first: Value, *others: object) -> Value:
    nodes = [first.node, *(_node(first, other, op) for other in others)]
    return _made(first.graph, lambda: first.graph.apply(op, *nodes))


def _maximum(a: Value, b: object) -> Value:
    return _extreme("max", "maximum", a, b)


def _minimum(a: Value, b: object) -> Value:
    return _extreme("min", "minimum", a, b)


def _extreme(op: str, name: str, a: Value, b: object) -> Value:
    pair = a.node, _node(a, b, name)
    if pair[0].constant is not None:
        pair = pair[::-1]
    return _made(a.graph, lambda: a.graph.apply(op, *pair))


def _where(condition: Condition, a: object, b: object) -> Value:
    beside = Value(condition.graph, condition.node)
    chosen = _node(beside, a, "where"), _node(beside, b, "where")
    if all(node.constant is not None for node in chosen):
        fail(f"where: expected a or b to be a value of the step, got constants {a!r} and {b!r}")
    if condition.negated:
        chosen = chosen[::-1]
    return Value(beside.graph, beside.graph.select(condition.node, *chosen))


def _normalize(v: Value, eps: float = 1e-5) -> Value:
    if not _is_number(eps) or not 0 < eps < 1:
        fail(f"normalize: expected 0 < eps < 1, got {eps!r}")
    if v.node.constant is not None:
        fail("normalize: expected a value that differs between units, got a constant")
    return Value(v.graph, v.graph.node("norm", v.node, data=float(eps)))


_OF_ONE = ("sigmoid", "tanh", "relu", "exp", "log", "softplus")
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: functools.partial(_apply, name) for name in _OF_ONE},
    "maximum": _maximum,
    "minimum": _minimum,
    "normalize": _normalize,
    "where": _where,
}
for _name, _function in _FUNCTIONS.items():
    getattr(tape, _name).register(Condition if _name == "where" else Value, _function)
