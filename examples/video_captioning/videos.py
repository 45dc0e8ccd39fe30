"""Videos of one or two shapes that move, and the sentence that tells each.

A clause has a colour, a shape and an action: "a red circle bounces off the floor". A sentence has
one clause or two, of shapes of different colours. One sentence of two clauses in ten is held out.

Sizes: T frames, B videos, S pixels in each direction.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from examples.common import Floats, Integers

STEPS, SIZE = 10, 24  # T and S
COLOURS = {
    "red": (0.9, 0.15, 0.1),
    "green": (0.1, 0.65, 0.2),
    "blue": (0.2, 0.3, 0.95),
    "yellow": (0.95, 0.8, 0.1),
}
SHAPES = ("circle", "square", "triangle", "cross")
WAYS = ("moves left", "moves right", "rises", "falls")
WALLS = ("left wall", "right wall", "ceiling", "floor")
BOUNCE, STANDS, APPEARS, VANISHES = 8, 12, 13, 14  # the numbers of the first bounce and of others
ACTIONS = (
    *(f"{way} slowly" for way in WAYS),
    *(f"{way} quickly" for way in WAYS),
    *(f"bounces off the {wall}" for wall in WALLS),
    "stands still",
    "appears",
    "vanishes",
)
SPEEDS = np.array([(0.5, 0.8), (1.3, 1.6), (1.1, 1.6), (0, 0)])  # pixels per frame, by ACTIONS // 4
EVENTS = (3, 7)  # a shape turns back, appears or vanishes in one of these frames but the last
RADIUS = 4.2  # pixels, up to which a shape extends
NOISE = 0.03
HELD_OUT = 10  # one pair of clauses in so many

# All clauses, (240, 3): the numbers of a colour, a shape and an action.
CLAUSES = np.array(list(itertools.product(*map(range, map(len, (COLOURS, SHAPES, ACTIONS))))))


def make_videos(
    count: int, generator: np.random.Generator, single: float, *, held_out: bool = False
) -> tuple[Floats, list[str]]:
    """Return the frames (T, B, 3, S, S) of videos, from 0 to 1, and their sentences.

    Args:
        count: B.
        generator: Source of all that is drawn.
        single: The share of videos with one shape.
        held_out: Whether sentences of two clauses are those that are held out, or the others.
    """
    pairs = generator.integers(len(CLAUSES), size=(count, 2))
    while True:
        same_colour = CLAUSES[pairs[:, 0], 0] == CLAUSES[pairs[:, 1], 0]
        wrong = same_colour | ((pairs.sum(axis=1) % HELD_OUT == 0) != held_out)
        if not wrong.any():
            break
        pairs[wrong] = generator.integers(len(CLAUSES), size=(np.count_nonzero(wrong), 2))
    clauses, alone = CLAUSES[pairs], generator.random(count) < single
    colours = np.array(list(COLOURS.values()), np.float32)
    frames = np.ones((STEPS, count, 3, SIZE, SIZE), np.float32)
    for shape, there in ((0, np.ones(count, bool)), (1, ~alone)):
        cover = _covers(clauses[:, shape], generator) * there[:, None, None]
        ink = colours[clauses[:, shape, 0]][:, :, None, None]
        frames += cover[:, :, None] * (ink - frames)
    frames += NOISE * generator.standard_normal(frames.shape, np.float32)
    sentences = [sentence(both[: 2 - one]) for both, one in zip(clauses, alone, strict=True)]
    return frames.clip(0, 1), sentences


def sentence(clauses: Integers) -> str:
    """Return the sentence of one or two clauses, in the order of the colours."""
    return " while ".join(
        f"a {list(COLOURS)[colour]} {SHAPES[shape]} {ACTIONS[action]}"
        for colour, shape, action in sorted(clauses.tolist())
    )


def _covers(clauses: Integers, generator: np.random.Generator) -> Floats:
    """Return how much of each pixel a shape covers in each frame, (T, B, S, S)."""
    places, visible = _paths(clauses[:, 2], generator)
    offsets = np.arange(SIZE, dtype=np.float32) + 0.5
    x = np.abs(offsets - places[..., 0, None])[..., None, :]
    y = (offsets - places[..., 1, None])[..., None]
    far = np.maximum(x, np.abs(y))
    outside = np.choose(  # how far outside the shape a pixel is, roughly
        clauses[:, 1, None, None],
        [
            np.hypot(x, y) - RADIUS,
            far - 0.85 * RADIUS,
            np.maximum(y - 0.8 * RADIUS, 0.87 * x - 0.5 * (y + RADIUS)),
            np.maximum(far - RADIUS, np.minimum(x, np.abs(y)) - 0.3 * RADIUS),
        ],
    )
    cover: Floats = (0.5 - outside).clip(0, 1) * visible[..., None, None]
    return cover


def _paths(actions: Integers, generator: np.random.Generator) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the centres x and y of shapes, (T, B, 2), and whether they are there, (T, B)."""
    t = np.arange(STEPS)[:, None]
    event = generator.integers(*EVENTS, size=len(actions))
    bounces = (actions >= BOUNCE) & (actions < STANDS)
    speed = generator.uniform(*SPEEDS[actions // 4].T)
    way = speed * np.where(bounces, np.abs(t - event), STEPS - 1 - t)
    space = np.where(bounces, 0, SIZE - 2 * RADIUS - way.max(axis=0))
    along = RADIUS + way + generator.random(len(actions)) * space  # towards the left or the ceiling
    along = np.where(actions % 2 == 1, SIZE - along, along)
    across = np.broadcast_to(generator.uniform(RADIUS, SIZE - RADIUS, len(actions)), along.shape)
    upright = actions % 4 >= 2
    places = np.stack([np.where(upright, across, along), np.where(upright, along, across)], axis=-1)
    visible = np.where(actions == APPEARS, t >= event, (actions != VANISHES) | (t < event))
    return places.astype(np.float32), visible
