"""Pictures of a few things that differ in shape, colour, size, place and angle.

A scene is a tuple of things, whose attributes and places are known, so that sentences about it,
questions and their answers can be derived. No thing covers another.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Floats = NDArray[np.float32]

SIDE = 40  # pixels
SHAPES = ("circle", "square", "triangle", "cross")
COLOURS = {
    "red": (0.90, 0.15, 0.15),
    "green": (0.15, 0.70, 0.20),
    "blue": (0.15, 0.30, 0.95),
    "yellow": (0.95, 0.90, 0.10),
    "purple": (0.65, 0.15, 0.80),
    "cyan": (0.10, 0.85, 0.90),
}
SIZES = {"small": (4.0, 5.0), "big": (6.5, 8.0)}  # radius in pixels: least and largest
NOISE = 0.04  # standard deviation of a pixel's noise, where 1 is white
CHUNK = 250  # scenes that are drawn at a time, which need little memory
CLEAR = 4.0  # pixels by which a thing must be further left or further up to be called so


@dataclass(frozen=True)
class Thing:
    """One thing of a scene.

    Attributes:
        shape: One of SHAPES.
        colour: One of COLOURS.
        size: One of SIZES.
        x: Its centre, in pixels from the left.
        y: Its centre, in pixels from the top.
        radius: That of a circle around it, in pixels.
        angle: By which it is turned, in radians.
        shade: Factor of its colour.
    """

    shape: str
    colour: str
    size: str
    x: float
    y: float
    radius: float
    angle: float
    shade: float

    def is_clearly(self, relation: str, other: Thing) -> bool | None:
        """Return whether this thing is "left of", "right of", "above" or "below" another one.

        The answer is None if both are about level.
        """
        ahead = other.x - self.x if relation in ("left of", "right of") else other.y - self.y
        if abs(ahead) < CLEAR:
            return None
        return (ahead > 0) == (relation in ("left of", "above"))


Scene = tuple[Thing, ...]
Kind = tuple[str, str, str]  # shape, colour and size


def arrange(kinds: Sequence[Kind], rng: random.Random) -> Scene:
    """Return a scene with a thing of each kind, in places where they do not touch."""
    while True:
        scene: list[Thing] = []
        for shape, colour, size in kinds:
            radius = rng.uniform(*SIZES[size])
            x, y = (rng.uniform(radius + 1, SIDE - radius - 1) for _ in range(2))
            angle, shade = rng.uniform(0, 2 * np.pi), rng.uniform(0.75, 1)
            scene.append(Thing(shape, colour, size, x, y, radius, angle, shade))
        if all(
            np.hypot(a.x - b.x, a.y - b.y) > a.radius + b.radius + 1
            for i, a in enumerate(scene)
            for b in scene[:i]
        ):
            return tuple(scene)


def draw(scenes: Sequence[Scene], generator: np.random.Generator) -> Images:
    """Draw scenes, each on a background of its own and with noise: (N, 3, SIDE, SIDE)."""
    starts = range(0, len(scenes), CHUNK)
    return np.concatenate([_draw(scenes[start : start + CHUNK], generator) for start in starts])


def _draw(scenes: Sequence[Scene], generator: np.random.Generator) -> Images:
    corners = generator.uniform(0.15, 0.85, (len(scenes), 1, 2, 2))
    corners = corners + generator.uniform(-0.08, 0.08, (len(scenes), 3, 2, 2))
    ramp = np.linspace([1, 0], [0, 1], SIDE, axis=0)  # (SIDE, 2)
    pictures = (ramp @ corners @ ramp.T).astype(np.float32)
    for first in range(max(map(len, scenes))):
        numbers = [i for i, scene in enumerate(scenes) if len(scene) > first]
        things = [scenes[i][first] for i in numbers]
        colours = np.array([COLOURS[t.colour] for t in things]) * [[t.shade] for t in things]
        covered = _coverage(things)[:, None]
        flat = colours.astype(np.float32)[..., None, None]
        pictures[numbers] += covered * (flat - pictures[numbers])
    pictures += NOISE * generator.standard_normal(pictures.shape, np.float32)
    images: Images = (255 * pictures.clip(0, 1)).astype(np.uint8)
    return images


def _coverage(things: Sequence[Thing]) -> Floats:
    """Return the share of each pixel that each thing covers, (N, SIDE, SIDE)."""
    x, y, radius, angle = (
        np.array([getattr(t, name) for t in things], np.float32)[:, None, None]
        for name in ("x", "y", "radius", "angle")
    )
    pixels = np.arange(SIDE, dtype=np.float32) + np.float32(0.5)
    across, down = pixels - x, pixels[:, None] - y
    cos, sin = np.cos(angle) / radius, np.sin(angle) / radius
    u, v = cos * across + sin * down, cos * down - sin * across
    outside = np.empty_like(u)
    for shape in SHAPES:
        rows = [i for i, thing in enumerate(things) if thing.shape == shape]
        outside[rows] = _distance(shape, u[rows], v[rows])
    share: Floats = (0.5 - outside * radius).clip(0, 1)
    return share


def _distance(shape: str, u: Floats, v: Floats) -> Floats:
    """Return how far points lie outside the outline of a shape of radius 1; inside, it is < 0."""
    a, b = np.abs(u), np.abs(v)
    outside: Floats
    if shape == "circle":
        outside = np.hypot(u, v) - np.float32(0.9)
    elif shape == "square":
        outside = np.maximum(a, b) - np.float32(0.72)
    elif shape == "triangle":
        slant = np.float32(0.75**0.5) * a - v / 2
        outside = np.maximum(slant, v) - np.float32(0.5)
    else:
        width = np.float32(0.3)
        outside = np.minimum(np.maximum(a - 1, b - width), np.maximum(a - width, b - 1))
    return outside
