"""Every operator of `rnnfast.onnx.Session` computes what it does in onnxruntime."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

import rnnfast.onnx
from onnx_session_cases import ONES, One, X, assert_as_onnxruntime, build, ints, reals
from rnnfast.onnx.session.operations import OPERATIONS


@pytest.mark.parametrize(
    ("one", "constants"),
    [(one, c) for one in ONES for c in (False, True) if c or not one.only_constants],
    ids=str,
)
def test_operators(one: One, constants: bool) -> None:
    assert_as_onnxruntime(*build(one, constants), one.terms)


def test_the_page_lists_the_operators() -> None:
    page = Path(__file__).parent.parent / "docs" / "onnx.md"
    (listed,) = re.findall(
        r"^Operators: (.*?)\.$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    names = {op_type for _, op_type in OPERATIONS} | {"DynamicQuantizeLSTM", "If"}
    assert re.findall(r"`(\w+)`", listed) == sorted(names)


def test_every_operator_has_a_test() -> None:
    tested = {one.op_type for one in ONES} | {"Constant", "LSTM", "GRU", "RNN"}
    assert tested == {op_type for _, op_type in OPERATIONS}


WRONG = [
    One("Softmax", [X], {"axis": 3}),
    One("Softmax", [X], {"axis": -4}, opset=12),
    One("LogSoftmax", [X], {"axis": 3}),
    One("LayerNormalization", [X, reals(4)], {"axis": 5}),
    One("Flatten", [X], {"axis": 4}),
    One("Flatten", [X], {"axis": -4}),
    One("Squeeze", [reals(1, 2), ints(2)]),
    One("Unsqueeze", [X, ints(4)]),
    One("Unsqueeze", [X, ints(-5)]),
    One("Pad", [X, ints(1, 1), None, ints(3)]),
    One("Split", [X], {"axis": 3, "num_outputs": 2}, outputs=2),
]


@pytest.mark.parametrize("one", WRONG, ids=str)
def test_an_axis_that_does_not_exist_is_refused(one: One) -> None:
    model, inputs = build(one, constants=False)
    with pytest.raises(ValueError, match=f"^{one.op_type} node .* cannot be computed: .*"):
        rnnfast.onnx.Session(model).run(None, inputs)


def test_parts_of_negative_size_are_refused() -> None:
    model, inputs = build(One("Split", [X, ints(-1, 3)], outputs=2), constants=False)
    with pytest.raises(ValueError, match=r"expected parts of 2 in total, got \[-1, 3\]"):
        rnnfast.onnx.Session(model).run(None, inputs)
