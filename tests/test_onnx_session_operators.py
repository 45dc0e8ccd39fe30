"""Every operator of `rnnfast.onnx.Session` computes what it does in onnxruntime."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from onnx_session_cases import ONES, One, assert_as_onnxruntime, build
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
