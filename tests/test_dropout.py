"""Dropout between layers: its masks, and agreement with the reference given the same masks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import cases
from cases import Case, forward
from noise_cases import dropout_masks
from philox import dropout_mask, philox
from rnnfast.reference import CELLS
from sequence_cases import DTYPES


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000",
         "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
         "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
         "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)  # fmt: skip
def test_known_answers_of_philox(counter: str, key: str, expected: str) -> None:
    """The answers come from Random123, the library of Philox's authors."""
    words, keys = ([int(word, 16) for word in text.split()] for text in (counter, key))
    result = philox(np.array(words, np.uint64), (keys[0], keys[1]))
    assert " ".join(f"{word:08x}" for word in result) == expected


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_dropout_matches_the_reference_with_the_same_masks(
    cell: str, lengths: bool, dtype: str
) -> None:
    case = Case(cell, T=6, B=5, H=9, L=3, D=2, dtype=dtype, lengths=lengths)
    masks = dropout_masks(case, 0.3, seed=11)
    expected = cases.run_reference(case, masks=masks)
    results = cases.run_engine(case, dropout=0.3, seed=11)
    cases.assert_close(results, expected, cases.plain_errors(case, masks=masks), case)


def test_dropout_masks_are_bernoulli_scaled_and_their_own() -> None:
    case = Case("rnn_relu", T=40, B=20, H=64, L=3)
    dropout, kept = 0.25, np.float32(1 / 0.75)
    first, second = dropout_masks(case, dropout, seed=1)
    other, _ = dropout_masks(case, dropout, seed=2)
    for mask in (first, second, other):
        assert set(np.unique(mask)) == {np.float32(0), kept}
        deviation = np.sqrt(dropout * (1 - dropout) / mask.size)
        assert abs((mask == 0).mean() - dropout) < 5 * deviation
    agreement = dropout**2 + (1 - dropout) ** 2  # expected of independent masks
    deviation = np.sqrt(agreement * (1 - agreement) / first.size)
    for a, b in (
        (first, second),
        (first, other),
        (first[1:], first[:-1]),
        (first[:, 1:], first[:, :-1]),
        (first[..., 1:], first[..., :-1]),
    ):
        assert abs((a == b).mean() - agreement) < 5 * deviation
    again, _ = dropout_masks(case, dropout, seed=1)
    np.testing.assert_array_equal(again, first)


def test_dropout_everything_or_of_one_layer() -> None:
    one = Case("gru", D=2)
    cases.assert_identical(cases.run_engine(one, dropout=0.5, seed=3), cases.run_engine(one))
    two = Case("gru", L=2, D=2)
    masks = [np.zeros((two.T, two.B, 2 * two.H))]
    expected = cases.run_reference(two, masks=masks)
    results = cases.run_engine(two, dropout=1.0)
    cases.assert_close(results, expected, cases.plain_errors(two, masks=masks), two)


def test_no_dropout_in_inference() -> None:
    case = Case("gru", L=2, D=2)
    with_dropout = forward(case, dropout=0.5, seed=3, training=False)
    plain = forward(case, training=False)
    np.testing.assert_array_equal(with_dropout[0], plain[0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("T", "B", "H", "D"), [(1, 1, 1, 1), (3, 5, 7, 2), (9, 4, 33, 1)])
def test_masks_are_words_of_philox(T: int, B: int, H: int, D: int, dtype: str) -> None:
    case = Case("rnn_relu", T=T, B=B, H=H, D=D, L=3, dtype=dtype)
    seed = 0x1234567890ABCDEF
    for layer, mask in enumerate(dropout_masks(case, 0.3, seed)):
        expected = dropout_mask(mask.size, 0.3, seed, layer).astype(dtype)
        np.testing.assert_array_equal(mask.ravel(), expected)


def test_lengths_leave_masks_as_they_are() -> None:
    case = Case("rnn_relu", T=7, B=6, H=9, D=2, L=3, lengths=True)
    lengths = cases.make_data(case).lengths
    inside = np.arange(case.T)[:, None] < np.asarray(lengths)
    full = dropout_masks(replace(case, lengths=False), 0.4, seed=5)
    for mask, whole in zip(dropout_masks(case, 0.4, seed=5), full, strict=True):
        np.testing.assert_array_equal(mask[inside], whole[inside])
        assert not mask[~inside].any()
