"""The example glimpses: what its images show, what a glimpse sees, and how looking is learned."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
for package in ("sklearn", "matplotlib"):
    pytest.importorskip(package, reason=f"{package} is not installed")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of the package `examples`

from examples.common import digits, resized_digits  # noqa: E402
from examples.glimpses import data, training  # noqa: E402
from examples.glimpses.model import Reader, Reading, sense  # noqa: E402


def test_an_image_shows_its_two_digits_from_left_to_right_and_nothing_else() -> None:
    images = np.arange(1, 11, dtype=np.float32)[:, None, None] * np.ones((10, 8, 8), np.float32)
    scenes, classes = data.scenes(images, np.arange(10), 300, np.random.default_rng(0))
    corners = []
    for scene, pair in zip(scenes, classes.T, strict=True):
        rows, columns = np.nonzero(scene)
        for d in range(2):
            # The first digit has the leftmost pixel, the second one the rightmost.
            edge = columns.min() if d == 0 else columns.max() - 7
            part = scene[:, edge : edge + 8]
            top = np.nonzero(part.any(axis=1))[0].min()
            assert (part[top : top + 8] == pair[d] + 1).all()
            assert np.count_nonzero(part) == 64
            corners.append((top, edge))
        assert len(rows) == 128
    tops, edges = np.array(corners).T
    assert set(tops) == set(range(17))
    assert set(edges) == set(range(17))


def test_no_digit_of_the_test_is_in_the_training_and_the_test_shows_them_unchanged() -> None:
    train, test, _, test_classes = digits(seed=3)
    known = {image.tobytes() for image in train}
    assert not known & {image.tobytes() for image in test}
    scenes, classes = data.scenes(test, test_classes, 20, np.random.default_rng(0))
    shown = {(image.tobytes(), int(c)) for image, c in zip(test, test_classes, strict=True)}
    for scene, answer in zip(scenes, classes[0], strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(scene, (8, 8)).reshape(-1, 8, 8)
        assert any((window.tobytes(), int(answer)) in shown for window in windows)


def test_digits_are_turned_and_scaled_a_little() -> None:
    image = np.zeros((1, 8, 8), np.float32)
    image[0, 3:5] = 1
    images = np.repeat(image, 200, axis=0)
    np.testing.assert_array_equal(resized_digits(images, 8), images)
    doubled = resized_digits(image, 16)
    between = np.interp(np.arange(16) / 2 - 0.25, range(8), image[0, :, 4])
    np.testing.assert_array_equal(doubled[0, :, 8], between)
    varied = resized_digits(images, 8, np.random.default_rng(0))
    rows = np.arange(8)[:, None]
    middles = (varied * rows).sum(axis=1) / varied.sum(axis=1)  # of each column
    angles = np.rad2deg(np.arctan2(middles[:, 5] - middles[:, 2], 3))
    assert np.all(np.abs(angles) < 12)
    assert angles.min() < -7 < 7 < angles.max()
    assert np.ptp(varied[:, :, 4].sum(axis=1)) > 0.2


def test_a_glimpse_is_sharp_in_the_middle_and_coarse_around_it() -> None:
    image = torch.rand(1, 1, 32, 32)  # places are exact numbers, and so are the results
    coarse = torch.nn.functional.avg_pool2d(image, 2)
    place = torch.tensor([[2 * 10 / 32 - 1, 2 * 14 / 32 - 1]])
    fine, wide = sense([image, coarse], place).view(2, 8, 8)
    assert fine.equal(image[0, 0, 10:18, 6:14])  # rows around 14, columns around 10
    assert wide.equal(coarse[0, 0, 3:11, 1:9])
    corner = sense([image], -torch.ones(1, 2)).view(8, 8)
    assert not corner[:4].any()
    assert corner[4:, 4:].equal(image[0, 0, :4, :4])


def test_the_scores_depend_on_nothing_but_the_glimpses() -> None:
    torch.manual_seed(0)
    reader = Reader(data.SIZE, 16, 2)
    images = torch.rand(2, data.SIZE, data.SIZE)
    images[1, :12, :12] = images[0, :12, :12]  # of which the glimpses at the corner see a part
    with torch.no_grad():
        reading = reader(images, lambda chosen: torch.full_like(chosen, -0.7))
    torch.testing.assert_close(reading.scores[:, 0], reading.scores[:, 1])
    assert not torch.allclose(reading.chosen[0, 0], reading.chosen[0, 1])


def test_the_gradient_is_that_of_reinforce() -> None:
    torch.manual_seed(0)
    chosen = torch.zeros(4, 3, 2, requires_grad=True)
    expected = torch.full((4, 3), 0.25, requires_grad=True)
    scores = torch.eye(10)[torch.tensor([[1, 2, 3], [4, 5, 6]])]
    classes = torch.tensor([[1, 2, 0], [0, 5, 6]])
    rewards = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 1, 1], [0, 1, 1]])
    places = torch.randn(4, 3, 2)
    training.policy_loss(Reading(scores, chosen, places, expected), classes, 0.5).backward()
    surprise = (rewards - 0.25)[..., None]
    torch.testing.assert_close(chosen.grad, -surprise * places / 0.5**2 / 12)
    torch.testing.assert_close(expected.grad, -2 * surprise[..., 0] / 12)
