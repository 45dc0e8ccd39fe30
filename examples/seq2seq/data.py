"""The two tasks: days in ten ways of writing them, and sums of two numbers below 100.

What is held out are days and pairs of numbers, not ways of writing them: no day of the test is in
the training in any form, and no pair is in the training the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import torch
from torch import Tensor

FIRST, LAST = date(1950, 1, 1), date(2049, 12, 31)
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()  # noqa: SIM905
SMALL = (  # noqa: SIM905
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
).split()
ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth",
            "nine": "ninth", "twelve": "twelfth"}  # fmt: skip
PAD, END = "_", "\n"  # the end is also the token that a decoder starts from

Pair = tuple[str, str]


@dataclass(frozen=True)
class Task:
    """Pairs of a text and its answer.

    Attributes:
        train: Pairs to learn from.
        test: Pairs of days, or of numbers, that are not in the training.
        characters: All characters, of which the first two are those of padding and of the end.
        ways: The number of ways of writing that take turns in both parts.
    """

    train: list[Pair]
    test: list[Pair]
    characters: str
    ways: int

    def encode(self, texts: list[str]) -> Tensor:
        """Return the tokens of texts, each with its end, (T, B)."""
        places = {c: i for i, c in enumerate(self.characters)}
        tokens = torch.zeros(max(map(len, texts)) + 1, len(texts), dtype=torch.int64)
        for b, text in enumerate(texts):
            tokens[: len(text) + 1, b] = torch.tensor([places[c] for c in text + END])
        return tokens

    def decode(self, tokens: np.ndarray[tuple[int], np.dtype[np.int64]]) -> str:
        """Return the text of tokens, up to its end."""
        return "".join(self.characters[i] for i in tokens).partition(END)[0]


def in_words(number: int) -> str:
    """Return a number below 100 in words."""
    if number < 20:
        return SMALL[number]
    tens, ones = divmod(number, 10)
    return TENS[tens - 2] + (f"-{SMALL[ones]}" if ones else "")


def ordinal(number: int) -> str:
    """Return the ordinal of a number below 100 in words."""
    before, hyphen, last = in_words(number).rpartition("-")
    if last in ORDINALS:
        return before + hyphen + ORDINALS[last]
    return before + hyphen + (last[:-1] + "ieth" if last[-1] == "y" else last + "th")


def spoken_year(year: int) -> str:
    """Return a year as it is spoken: nineteen eighty-four, two thousand six, twenty ten."""
    century, rest = divmod(year, 100)
    if year // 10 == 200:
        return "two thousand" + (f" {in_words(rest)}" if rest else "")
    return f"{in_words(century)} {in_words(rest)}"


def ways_to_write(day: date) -> list[str]:
    """Return a day in ten ways; with slashes the month is first, with dots the day."""
    d, m, y = day.day, day.month, day.year
    month, weekday = f"{day:%B}".lower(), f"{day:%A}".lower()
    suffix = "th" if 10 < d < 14 else {1: "st", 2: "nd", 3: "rd"}.get(d % 10, "th")
    return [
        f"{d}.{m}.{y}",
        f"{m}/{d}/{y % 100:02}",
        f"{month} {d}, {y}",
        f"{weekday[:3]} {d}-{month[:3]}-{y % 100:02}",
        f"{weekday}, {month} {d}{suffix}, {y}",
        f"the {d}{suffix} of {month} '{y % 100:02}",
        f"{y}, {month} the {ordinal(d)}",
        f"{ordinal(d)} of {month} {spoken_year(y)}",
        f"{month} {in_words(d)}, {spoken_year(y)}",
        f"on {weekday} the {ordinal(d)} day of {month} in {spoken_year(y)}",
    ]


def dates(held_out: int, seed: int, ways: int = 10) -> Task:
    """Return the days of a century, each in the first `ways` ways; some days are held out."""
    days = [FIRST + timedelta(i) for i in range((LAST - FIRST).days + 1)]
    shuffled = [days[i] for i in np.random.default_rng(seed).permutation(len(days))]
    pairs = [(text, day.isoformat()) for day in shuffled for text in ways_to_write(day)[:ways]]
    return _task(pairs, ways * held_out, ways)


def sums(held_out: int, seed: int) -> Task:
    """Return the sums of all pairs of numbers below 100; a + b and b + a are in the same part."""
    unordered = [(a, b) for a in range(100) for b in range(a + 1)]
    pairs: list[Pair] = []
    for i in np.random.default_rng(seed).permutation(len(unordered)):
        a, b = unordered[i]
        pairs += [(f"{x}+{y}", str(a + b)) for x, y in sorted({(a, b), (b, a)})]
        if len(pairs) <= held_out:
            end = len(pairs)
    return _task(pairs, end, ways=1)


def _task(pairs: list[Pair], tested: int, ways: int) -> Task:
    """Return a task with the first pairs for the test."""
    characters = PAD + END + "".join(sorted({c for text, answer in pairs for c in text + answer}))
    return Task(pairs[tested:], pairs[:tested], characters, ways)
