"""Optimiser steps and clipping on a device against their formulas in plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from device_kernels import EPS, SCHEDULES, Kernels
from numpy.typing import NDArray

import cases
from optim_cases import STEPS, all_optimizers, plain_training
from optim_cases import reals as parameters


class Pieces:
    """Gradients, values and buffers on the device, with the table of their pieces."""

    def __init__(self, kernels: Kernels, lists: list[list[NDArray]]) -> None:
        self.kernels = kernels
        self.lists = [[kernels.put(array) for array in arrays] for arrays in lists]
        table = kernels.engine.extension.cut_pieces(
            lists=[[kernels.pointer(array) for array in arrays] for arrays in self.lists],
            sizes=[array.size for array in lists[0]],
        )
        self.count, self.table = len(table), kernels.put(table)
        self.sums = kernels.nan(self.count + 1, dtype=np.float64)
        self.buffers = tuple(len(self.lists) > 2 + k and bool(self.lists[2 + k]) for k in range(3))

    def step(self, name: str, options: dict[str, Any], **care: object) -> None:
        call = self.kernels.call(
            "step_call",
            pieces=self.table,
            count=self.count,
            buffers=self.buffers,
            sums=self.sums,
            **care,
        )
        getattr(self.kernels.engine.extension, name)(call, **options)

    def set_gradients(self, arrays: list[NDArray]) -> None:
        for to, array in zip(self.lists[0], arrays, strict=True):
            to[...] = self.kernels.put(array)

    def get(self, which: int) -> list[NDArray]:
        return [self.kernels.get(array) for array in self.lists[which]]


def arguments(name: str, o: dict[str, Any], step: int) -> tuple[str, dict[str, Any]]:
    """Return the function of a step of a `rnnfast.optim` class, and its default arguments."""
    decay = o.get("weight_decay", 0.01 if name == "AdamW" else 0.0)
    lr, momentum = o.get("lr", 1e-3 if "Adam" in name else 1e-2), o.get("momentum", 0.0)
    rest: dict[str, Any]
    if name == "SGD":
        rest = {"momentum": momentum, "nesterov": o.get("nesterov", False)}
    elif name == "Adagrad":
        lr, rest = lr / (1 + step * o.get("lr_decay", 0.0)), {"eps": 1e-10}
    elif name == "RMSprop":
        rest = {"alpha": o.get("alpha", 0.99), "eps": o.get("eps", 1e-8), "momentum": momentum}
    else:
        beta1, beta2 = o.get("betas", (0.9, 0.999))
        rest = {"beta1": beta1, "beta2": beta2, "eps": o.get("eps", 1e-8)}
        rest |= {"decoupled": name == "AdamW", "number": step + 1}
    return name.lower().replace("adamw", "adam"), {"lr": lr, "weight_decay": decay, **rest}


def buffers(name: str, o: dict[str, Any]) -> list[list[NDArray]]:
    """Return the initial buffers, with empty lists for those that the options do not use."""
    wanted = {
        "SGD": ["momentum" in o],
        "Adagrad": [True],
        "RMSprop": [True, "momentum" in o, "centered" in o],
    }.get(name, [True, True])
    start = o.get("initial_accumulator_value", 0.0)
    return [[np.full_like(v, start) for v in parameters("float32", 0)] if w else [] for w in wanted]


@pytest.mark.parametrize("schedule", SCHEDULES[:3])
@all_optimizers
def test_formulas(
    device: str, name: str, options: dict[str, Any], schedule: tuple[str, int]
) -> None:
    values = parameters("float32", 0)
    pieces = Pieces(Kernels(device, schedule), [values, values, *buffers(name, options)])
    for step in range(STEPS):
        pieces.set_gradients(parameters("float32", 1, step))
        pieces.step(*arguments(name, options, step))
    expected = plain_training(name, options, "float64")
    single = plain_training(name, options, "float32")
    errors = {key: cases.worst(single[key], expected[key]) for key in expected}
    got = {f"p{i}": value for i, value in enumerate(pieces.get(1))}
    cases.assert_close(got, expected, errors, cases.Task("float32", longest_sum=STEPS))
    for array, before in zip(pieces.get(0), parameters("float32", 1, STEPS - 1), strict=True):
        np.testing.assert_array_equal(array, before)


def clipped(norm: float | None, limit: float | None) -> list[NDArray]:
    """Return the clipped gradients in float64."""
    g = parameters("float64", 5)
    if norm is not None:
        before = np.sqrt(sum((array**2).sum() for array in g))
        g = [array * min(1, norm / (before + 1e-6)) for array in g]
    return g if limit is None else [array.clip(-limit, limit) for array in g]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("limit", [None, 0.01])
@pytest.mark.parametrize("norm", [None, 1.0, 1000.0])
def test_clipping(
    device: str, norm: float | None, limit: float | None, zero: bool, schedule: tuple[str, int]
) -> None:
    kernels = Kernels(device, schedule)
    care = {"clip_norm": norm, "clip_value": limit, "zero": zero}
    g, w = parameters("float32", 5), parameters("float32", 6)
    alone = Pieces(kernels, [g])
    alone.step("gradients", {}, **care)
    sgd = {"lr": 1.0, "momentum": 0.0, "weight_decay": 0.0, "nesterov": False}
    stepping = Pieces(kernels, [g, w])
    stepping.step("sgd", sgd, **care)
    for i, exact in enumerate(clipped(norm, limit)):
        for pieces in (alone, stepping):
            np.testing.assert_allclose(pieces.get(0)[i], 0 if zero else exact, rtol=2 * EPS)
        moved = stepping.get(1)[i]
        np.testing.assert_allclose(moved, w[i] - exact, rtol=2 * EPS, atol=4 * EPS)
    if norm is not None:
        exact_norm = np.sqrt(sum((a**2).sum() for a in parameters("float64", 5)))
        for pieces in (alone, stepping):
            np.testing.assert_allclose(kernels.get(pieces.sums)[0], exact_norm, rtol=1e-14)


def test_norms_of_huge_and_of_nan_gradients(device: str) -> None:
    kernels = Kernels(device)
    huge = Pieces(kernels, [[np.full(5000, 1e36, np.float32)]])
    huge.step("gradients", {}, clip_norm=1.0)
    np.testing.assert_allclose(kernels.get(huge.sums)[0], 1e36 * np.sqrt(5000), rtol=1e-6)
    np.testing.assert_allclose(huge.get(0)[0], 1 / np.sqrt(5000), rtol=1e-6)
    spoilt = np.ones(5000, np.float32)
    spoilt[4999] = np.nan
    bad = Pieces(kernels, [[spoilt, np.ones(3, np.float32)]])
    bad.step("gradients", {}, clip_norm=1.0)
    assert all(np.isnan(array).all() for array in bad.get(0)), "NaN shows everywhere"
