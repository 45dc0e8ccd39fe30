"""Check that an installed wheel works: a training step must agree with the reference.

    python -I tools/check_wheel.py

The script exits with an error if the imported package is not the installed one, if the wheel
bundles an OpenMP runtime beside the system's, or if training gives wrong results.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import numpy as np

import rnnfast
from rnnfast import functional, reference


def check_installed() -> Path:
    """Return the folder of the package, which must lie in the environment's site-packages."""
    package = Path(rnnfast.__file__).parent
    site = Path(sysconfig.get_path("platlib"))
    if package.parent != site:
        sys.exit(f"rnnfast: expected the package in {site}, got {package}")
    bundled = [path.name for path in site.glob("rnnfast.libs/libgomp*")]
    if bundled:
        sys.exit(f"rnnfast.libs: expected no OpenMP runtime, got {bundled}")
    return package


def check_training_step() -> None:
    """Compare y and the gradients with the float64 reference; a step must also lower the loss."""
    x = np.random.default_rng(0).normal(size=(7, 2, 3)).astype(np.float32)
    layer = rnnfast.GRU(3, 5, seed=1)
    weights = functional.Weights(*(w.astype(np.float64) for w in layer.state_dict().values()))
    network = reference.Network(reference.CELLS["gru"], x.astype(np.float64), [weights])
    y, _ = layer(x)
    layer.backward(2 * y)
    dw_ih, dw_hh, *_ = network.backward(2 * network.y).dweights[0]
    for name, got, expected in (
        ("y", y, network.y),
        ("weight_ih", layer.weight_ih_l0.grad, dw_ih),
        ("weight_hh", layer.weight_hh_l0.grad, dw_hh),
    ):
        error = float(np.abs(got - expected).max())
        if error > 100 * np.finfo(np.float32).eps:  # sums of at most 14 terms of order 1
            sys.exit(f"{name}: expected the result of the reference, got an error of {error}")
    rnnfast.SGD(layer, lr=0.01).step()
    before, after = float(np.square(y).sum()), float(np.square(layer(x)[0]).sum())
    if not after < before:
        sys.exit(f"loss: expected less than {before} after a step, got {after}")


if __name__ == "__main__":
    where = check_installed()
    check_training_step()
    print(f"rnnfast {rnnfast.__version__} on {rnnfast.cpu_info()['isa']}: a training step, {where}")
