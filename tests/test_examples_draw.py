"""The example draw: its digits are held out, its grid of filters sees, and its bound is one."""

from __future__ import annotations

import itertools
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import tolerances

torch = pytest.importorskip("torch", reason="torch is not installed")
for package in ("sklearn", "matplotlib"):
    pytest.importorskip(package, reason=f"{package} is not installed")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of the package `examples`

import rnnfast.torch  # noqa: E402
from examples.common import Run, digits  # noqa: E402
from examples.draw import training  # noqa: E402
from examples.draw.attention import window  # noqa: E402
from examples.draw.data import black_and_white  # noqa: E402
from examples.draw.model import AtOnce, Draw, sample  # noqa: E402


def test_digits_of_the_test_are_enlarged_unchanged() -> None:
    _, test, _, _ = digits(seed=3)
    made = black_and_white(test)
    around = torch.nn.functional.pad(torch.from_numpy(test)[:, None], (1, 1, 1, 1))
    enlarged = torch.nn.functional.interpolate(around, scale_factor=2.0, mode="bilinear")
    assert made.equal((enlarged[:, 0, 2:-2, 2:-2] > 0.5).float())
    varied = black_and_white(test, np.random.default_rng(0))
    assert set(varied.unique().tolist()) == {0, 1}
    assert 0.02 < (varied != made).float().mean() < 0.2


def parameters(row: float, column: float, distance: float, strength: float) -> torch.Tensor:
    """Return those of a grid of sharp filters on 17 x 17 pixels, with distances in pixels."""
    logarithms = [-8, math.log(distance / 4), math.log(strength)]
    return torch.tensor([[row / 9 - 8 / 9, column / 9 - 8 / 9, *logarithms]])


def test_sharp_filters_read_pixels_and_write_them_back() -> None:
    image = torch.rand(1, 17, 17)
    grid = window(parameters(row=6, column=10, distance=1, strength=2), 17, 5)
    torch.testing.assert_close(grid.frame, torch.tensor([[6.0, 10.0, 1.0]]))
    torch.testing.assert_close(grid.read(image), 2 * image[:, 4:9, 8:13])
    written = grid.write(grid.read(image))
    torch.testing.assert_close(written[:, 4:9, 8:13], image[:, 4:9, 8:13])
    assert written.count_nonzero() == 25
    sparse = window(parameters(row=8, column=8, distance=4, strength=1), 17, 5)
    torch.testing.assert_close(sparse.read(image), image[:, ::4, ::4])


def test_each_filter_sums_to_one_even_outside_of_the_image() -> None:
    torch.manual_seed(0)
    grid = window(3 * torch.randn(50, 5), 16, 5)
    for filters in (grid.rows, grid.columns):
        assert filters.shape == (50, 5, 16)
        torch.testing.assert_close(filters.sum(dim=2), torch.ones(50, 5))


def test_the_divergence_is_that_of_normal_distributions() -> None:
    moments = torch.randn(6, 8, dtype=torch.float64)
    normal = torch.distributions.Normal
    own = normal(moments[:, :4], moments[:, 4:].exp())
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    expected = torch.distributions.kl_divergence(own, normal(zero, one)).sum(dim=1)
    torch.testing.assert_close(sample(moments)[1], expected)
    many, _ = sample(torch.tensor([[3.0, math.log(0.5)]]).expand(10_000, -1))
    assert abs(many.mean() - 3) < 0.02
    assert abs(many.std() - 0.5) < 0.02


@pytest.mark.parametrize("kind", ["attention", "whole", "at once"])
def test_no_bound_exceeds_what_is_known_of_images_of_four_pixels(kind: str) -> None:
    # All 16 images are equally likely, so no model can have a mean log-likelihood above -log 16.
    images = torch.tensor([*itertools.product([0.0, 1.0], repeat=4)]).view(16, 2, 2)
    torch.manual_seed(0)
    network = AtOnce(2, 32, 4) if kind == "at once" else Draw(2, 32, 4, 2, kind == "attention")
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        (-network(images.repeat(4, 1, 1)).mean()).backward()
        optimizer.step()
    bound = training.mean_bound(network, images.repeat(200, 1, 1))
    assert -math.log(16) - 0.5 < bound < -math.log(16) + 0.02


def models(attention: bool) -> list[Draw]:
    """Return a model with our layers and one with those of torch.nn, of the same weights."""
    torch.manual_seed(0)
    two = [Draw(6, 16, 3, 4, attention, layers) for layers in (rnnfast.torch, torch.nn)]
    two[1].load_state_dict(two[0].state_dict())
    return [model.double() for model in two]


@pytest.mark.parametrize("attention", [False, True])
def test_bounds_and_gradients_are_those_of_the_layers_of_torch(attention: bool) -> None:
    images = (torch.rand(5, 6, 6) > 0.5).double()
    results = []
    for model in models(attention):
        torch.manual_seed(1)
        bound = model(images)
        bound.sum().backward()
        results.append([bound.detach(), *(p.grad for p in model.parameters())])
    for ours, theirs in zip(*results, strict=True):
        largest = theirs.abs().max()
        assert (ours - theirs).abs().max() <= tolerances.TORCH_RELATIVE_FLOAT64 * largest


def test_independent_pixels_have_the_likelihood_of_their_shares() -> None:
    train = torch.tensor([[[1.0, 0.0]], [[1.0, 1.0]], [[1.0, 1.0]]])
    expected = math.log(1 - 3.5 / 4) + math.log(2.5 / 4)
    found = training.independent_pixels(train, torch.tensor([[[0.0, 1.0]]]))
    assert math.isclose(found, expected, rel_tol=1e-6)


def test_a_comparison_of_layers_prints_both_times(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, _, _, _ = digits(seed=0)
    training.compare_layers(Run("draw", True, 0, tmp_path), train, attention=True)
    assert re.fullmatch(
        r"a training step: torch.nn [\d.]+ ms, rnnfast.torch [\d.]+ ms, [\d.]+ times as fast\n",
        capsys.readouterr().out,
    )
