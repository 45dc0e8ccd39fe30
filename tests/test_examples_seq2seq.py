"""The example seq2seq: its data are right and held out, and its decoders do what they say."""

from __future__ import annotations

import re
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pytest

import tolerances

torch = pytest.importorskip("torch", reason="torch is not installed")
for package in ("sklearn", "matplotlib"):
    pytest.importorskip(package, reason=f"{package} is not installed")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of the package `examples`

import rnnfast.torch  # noqa: E402
from examples.common import Run  # noqa: E402
from examples.seq2seq import data, training  # noqa: E402
from examples.seq2seq.model import Translator  # noqa: E402

DAY = date(2006, 11, 30)
WAYS = [
    "30.11.2006",
    "11/30/06",
    "november 30, 2006",
    "thu 30-nov-06",
    "thursday, november 30th, 2006",
    "the 30th of november '06",
    "2006, november the thirtieth",
    "thirtieth of november two thousand six",
    "november thirty, two thousand six",
    "on thursday the thirtieth day of november in two thousand six",
]


def test_days_are_written_in_ten_ways() -> None:
    assert data.ways_to_write(DAY) == WAYS
    ordinals = [data.ordinal(day) for day in (1, 2, 3, 5, 8, 9, 12, 13, 20, 21, 22, 31)]
    assert ordinals == [
        "first", "second", "third", "fifth", "eighth", "ninth", "twelfth", "thirteenth",
        "twentieth", "twenty-first", "twenty-second", "thirty-first",
    ]  # fmt: skip
    years = [data.spoken_year(year) for year in (1950, 1984, 2000, 2010, 2049)]
    assert years == [
        "nineteen fifty", "nineteen eighty-four", "two thousand", "twenty ten",
        "twenty forty-nine",
    ]  # fmt: skip
    endings = [data.ways_to_write(date(2001, 1, day))[4][-10:-6] for day in (1, 2, 3, 11, 13, 21)]
    assert endings == [" 1st", " 2nd", " 3rd", "11th", "13th", "21st"]


def test_no_day_of_the_test_is_in_the_training() -> None:
    task = data.dates(50, seed=3)
    tested = {answer for _, answer in task.test}
    assert (len(tested), len(task.test)) == (50, 500)
    assert not tested & {answer for _, answer in task.train}
    texts = [text for text, _ in task.train + task.test]
    assert len(set(texts)) == len(texts) == 10 * 36525  # no text has two answers


def test_no_pair_of_the_test_is_in_the_training_the_other_way_round() -> None:
    task = data.sums(1000, seed=3)
    parts = [{tuple(map(int, text.split("+"))) for text, _ in p} for p in (task.test, task.train)]
    assert not parts[0] & parts[1]
    assert all((b, a) in part for part in parts for a, b in part)
    assert len(parts[0] | parts[1]) == 10_000
    assert 999 <= len(task.test) <= 1000
    assert all(eval(text) == int(answer) for text, answer in task.test)


def test_texts_come_back_from_their_tokens() -> None:
    task = data.sums(10, seed=0)
    tokens = task.encode(["1+23", "7"])
    assert tokens[:, 1].tolist()[1:] == [1, 0, 0, 0]
    assert [task.decode(row.numpy()) for row in tokens.T] == ["1+23", "7"]


def translators(attention: bool) -> list[Translator]:
    """Return a model with our layers and one with those of torch.nn, of the same weights."""
    torch.manual_seed(0)
    models = [Translator(9, 16, attention, layers) for layers in (rnnfast.torch, torch.nn)]
    models[1].load_state_dict(models[0].state_dict())
    return [model.double() for model in models]


@pytest.mark.parametrize("attention", [False, True])
def test_scores_and_gradients_are_those_of_the_layers_of_torch(attention: bool) -> None:
    texts = torch.tensor([[3, 4, 5], [6, 7, 1], [8, 1, 0], [1, 0, 0]])
    inputs = torch.tensor([[1, 1, 1], [2, 3, 4]])
    results = []
    for model in translators(attention):
        scores, _ = model.decoder(inputs, model.read(texts))
        scores.square().sum().backward()
        results.append([scores.detach(), *(p.grad for p in model.parameters())])
    for ours, theirs in zip(*results, strict=True):
        largest = theirs.abs().max()
        assert (ours - theirs).abs().max() <= tolerances.TORCH_RELATIVE_FLOAT64 * largest


@pytest.mark.parametrize("attention", [False, True])
@torch.no_grad()
def test_an_answer_depends_neither_on_padding_nor_on_how_many_steps_a_call_takes(
    attention: bool,
) -> None:
    model = translators(attention)[0]
    texts = torch.tensor([[3, 4], [6, 7], [8, 1], [1, 0]])
    inputs = torch.tensor([[1, 1], [2, 3], [5, 6]])
    together, _ = model.decoder(inputs, model.read(texts))
    state = model.read(texts[:3, 1:])
    for tokens, expected in zip(inputs[:, 1:], together[:, 1:], strict=True):
        scores, state = model.decoder(tokens[None], state)
        torch.testing.assert_close(scores[0], expected)


@torch.no_grad()
def test_attention_sums_to_one_and_skips_padding() -> None:
    model = translators(attention=True)[0]
    weights = model.decoder.weights(model.read(torch.tensor([[3, 4], [6, 1], [1, 0]])))
    assert weights[1, 2] == 0
    assert weights[1, :2].min() > 0
    np.testing.assert_allclose(weights.sum(dim=1), 1, rtol=1e-12)


@pytest.mark.parametrize("attention", [False, True])
def test_scheduled_sampling_learns_on_draws_that_one_seed_repeats(attention: bool) -> None:
    task = data.sums(10, seed=0)
    torch.manual_seed(0)
    model = Translator(len(task.characters), 16, attention)
    batch = training.batch_of(task, task.train[:8])
    losses = [
        training.translator_loss(model, batch, keep, seed).item()
        for keep, seed in ((1.0, 1), (1.0, 2), (0.0, 1), (0.0, 1), (0.0, 2))
    ]
    assert losses[0] == losses[1] != losses[2] == losses[3] != losses[4]
    training.translator_loss(model, batch, 0.0, 1).backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


def test_a_comparison_of_layers_prints_both_times(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = data.sums(10, seed=0)
    training.compare_layers(Run("seq2seq", True, 0, tmp_path), task, attention=True)
    assert re.fullmatch(
        r"a training step: torch.nn [\d.]+ ms, rnnfast.torch [\d.]+ ms, [\d.]+ times as fast\n",
        capsys.readouterr().out,
    )
