"""medaka: the consensus of DNA that was read many times, by bidirectional GRUs in PyTorch."""

from __future__ import annotations

import tarfile
from typing import Any

import numpy as np
import pytest
from comparison import leave_out
from packages import Package

import rnnfast

PACKAGE = Package(
    "medaka",
    "2.2.2",
    "Oxford Nanopore Technologies Public License 1.0",
    needs=("packaging==26.4", "cffi==2.1.1"),
)
UNITS = {
    "hac_v6.0.0": 256,
    "hac_variant_v5.0.0": 128,
    "sup_v5.2.0": 128,
    "sup_variant_v5.0.0": 128,
}


def counts(positions: int) -> Any:
    """Return what the network sees: how often each base was read at each position.

    The reads are simulated: 30 on both strands, of which each tenth has a wrong base or a gap.
    The first eight columns are the bases A, C, G, T of both strands, the last two are gaps.
    """
    rng = np.random.default_rng(0)
    truth, reads = rng.integers(4, size=positions), 30
    read = np.where(rng.random((reads, positions)) < 0.1, rng.integers(5, size=(reads, 1)), truth)
    column = np.where(read == 4, 8, read + 4 * (np.arange(reads) % 2)[:, None])
    column += (read == 4) * (np.arange(reads) % 2)[:, None]
    return (np.eye(10)[column].sum(axis=0) / reads).astype(np.float32)[None]


def theirs(name: str) -> Any:
    leave_out(
        "medaka.align",
        "parasail",
        "pysam",
        "requests",
        "intervaltree",
        "tensordict",
        "toml",
        "tqdm",
    )
    import torch
    from medaka.architectures import GRUModel

    with tarfile.open(f"medaka/data/r1041_e82_400bps_{name}_model_pt.tar.gz") as archive:
        archive.extract("model/weights.pt", name, filter="data")
    model = GRUModel(gru_size=UNITS[name]).eval()
    model.load_state_dict(torch.load(f"{name}/model/weights.pt", map_location="cpu"))
    model.normalise = False  # the softmax of its outputs hides small differences
    x = torch.from_numpy(counts(1000))

    def run() -> Any:
        with torch.inference_mode():
            return model(x).numpy()

    return (name, x.numpy(), model.linear), run


def ours(given: Any) -> Any:
    name, x, linear = given
    layer = rnnfast.read_layer(f"{name}/model/weights.pt", batch_first=True)
    weight, bias = (p.detach().numpy() for p in linear.parameters())

    return lambda: layer(x)[0] @ weight.T + bias


@pytest.mark.parametrize("name", UNITS)
def test_consensus(gallery: Any, name: str) -> None:
    gallery.check(
        PACKAGE,
        theirs,
        ours,
        argument=name,
        network=f"{name}: 2 GRU layers of {UNITS[name]} units in both directions, 1,000 positions",
        engine="PyTorch",
    )
