"""The example video_captioning: its videos show what their sentences say, and some are held out."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
for package in ("sklearn", "matplotlib"):
    pytest.importorskip(package, reason=f"{package} is not installed")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of the package `examples`

from examples.common import Floats  # noqa: E402
from examples.video_captioning import __main__ as program  # noqa: E402
from examples.video_captioning import videos  # noqa: E402

FRAMES, SENTENCES = videos.make_videos(600, np.random.default_rng(2), 0.3)


def centre(video: Floats, colour: str) -> list[tuple[float, float] | None]:
    """Return where a colour is in each frame, x and y, or None where it is not.

    A pixel has a colour that it is close to.
    """
    palette = np.array([*videos.COLOURS.values(), (1, 1, 1)], np.float32)
    gaps = np.abs(video[:, None] - palette[:, :, None, None]).sum(axis=2)
    mask = (gaps.argmin(axis=1) == list(videos.COLOURS).index(colour)) & (gaps.min(axis=1) < 0.5)
    places = []
    for frame in mask:
        y, x = np.nonzero(frame)
        places.append((float(x.mean()), float(y.mean())) if len(x) > 5 else None)
    return places


def action(places: list[tuple[float, float] | None]) -> str:
    """Return what a shape does, from its places alone."""
    if None in places:
        return "appears" if places[0] is None else "vanishes"
    path = np.array(places)
    steps = np.diff(path, axis=0)
    axis = int(np.ptp(path, axis=0).argmax())
    far = np.ptp(path[:, axis])
    if far < 1:
        return "stands still"
    signs = steps[:, axis]
    if signs.max() > 0.6 and signs.min() < -0.6:
        low = path[:, axis].argmin() not in (0, len(path) - 1)
        walls = ("left wall", "right wall") if axis == 0 else ("ceiling", "floor")
        return f"bounces off the {walls[0] if low else walls[1]}"
    way = (("moves left", "moves right"), ("rises", "falls"))[axis][int(signs.sum() > 0)]
    return f"{way} {'quickly' if far > 9.5 else 'slowly'}"


def test_videos_show_what_their_sentences_say() -> None:
    checked = 0
    for video, text in zip(FRAMES.transpose(1, 0, 2, 3, 4), SENTENCES, strict=True):
        if " while " in text:
            continue  # one shape may hide the other
        _, colour, _, *does = text.split()
        assert action(centre(video, colour)) == " ".join(does)
        checked += 1
    assert checked > 100


def test_videos_have_the_colours_of_their_sentences() -> None:
    complete = []
    for video, text in zip(FRAMES.transpose(1, 0, 2, 3, 4), SENTENCES, strict=True):
        colours = {word for word in text.split() if word in videos.COLOURS}
        shown = {name for name in videos.COLOURS if any(centre(video, name))}
        assert len(colours) == text.count(" while ") + 1
        if len(colours) == 1:
            assert shown == colours
        complete.append(colours <= shown)  # a shape may hide another one all the time
    assert np.mean(complete) > 0.98


def test_the_four_shapes_differ() -> None:
    clauses = np.array([[0, shape, videos.STANDS] for shape in range(4)])
    covers = [
        np.sort(videos._covers(clauses, np.random.default_rng(seed))[0].reshape(4, -1).sum(axis=1))
        for seed in range(3)
    ]
    areas = np.array(covers)
    side, radius = 2 * 0.85 * videos.RADIUS, videos.RADIUS
    assert areas[:, 3] == pytest.approx(np.full(3, np.pi * radius**2), rel=0.1)
    assert areas[:, 2] == pytest.approx(np.full(3, side**2), rel=0.1)
    assert (areas[:, 1] < 0.85 * areas[:, 2]).all()


def test_shapes_stay_within_the_frame() -> None:
    everything = np.repeat(np.arange(len(videos.ACTIONS)), 50)
    places, visible = videos._paths(everything, np.random.default_rng(0))
    assert places.min() >= videos.RADIUS - 1e-4
    assert places.max() <= videos.SIZE - videos.RADIUS + 1e-4
    changes = (np.diff(visible.astype(int), axis=0) != 0).sum(axis=0).reshape(-1, 50)
    assert (changes == (np.arange(len(videos.ACTIONS)) >= videos.APPEARS)[:, None]).all()


def test_no_sentence_of_two_clauses_is_in_both_parts() -> None:
    generator = np.random.default_rng(1)
    parts = []
    for held_out in (False, True):
        sentences = [
            text
            for _ in range(8)
            for text in videos.make_videos(250, generator, 0.3, held_out=held_out)[1]
        ]
        parts.append({text for text in sentences if " while " in text})
        assert 0.25 < sum(" while " not in text for text in sentences) / len(sentences) < 0.35
    assert not parts[0] & parts[1]
    numbers = {videos.sentence(clause[None]): i for i, clause in enumerate(videos.CLAUSES)}
    for part, held_out in zip(parts, (False, True), strict=True):
        for text in part:
            first, second = (numbers[clause] for clause in text.split(" while "))
            assert ((first + second) % videos.HELD_OUT == 0) == held_out


def test_sentences_name_the_colours_in_their_order() -> None:
    order = list(videos.COLOURS)
    for text in SENTENCES:
        named = [order.index(word) for word in text.split() if word in order]
        assert all(before < after for before, after in pairwise(named))


def test_words_come_back_from_their_numbers() -> None:
    tokens = program.encode(["a red circle appears", "a blue square falls slowly"])
    assert tokens[0].tolist() == [program.START] * 2
    assert tokens[-1].tolist() == [program.PAD, program.END]
    assert [program.WORDS[i] for i in tokens[1:5, 0]] == "a red circle appears".split()  # noqa: SIM905
    used = {word for text in SENTENCES for word in text.split()}
    assert used == set(program.WORDS[program.END + 1 :])


@torch.no_grad()
def test_captions_are_the_likeliest_words_one_after_the_other() -> None:
    torch.manual_seed(0)
    network = program.Captioner().eval()
    frames = FRAMES[:, :5]
    found = program.captions(network, frames)
    for b, text in enumerate(found):
        state, token, words = network.read(torch.from_numpy(frames[:, b : b + 1])), 1, []
        for _ in range(program.LONGEST):
            scores, state = network.decoder(torch.tensor([[token]]), state)
            token = int(scores[0, 0].argmax())
            if token == program.END:
                break
            words.append(program.WORDS[token])
        assert [word for word in words if word and word[0] != "<"] == text.split()
