"""Loops of single steps: how often and in which parts backward runs, and weights that change."""

from __future__ import annotations

import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch.utils.checkpoint import checkpoint  # noqa: E402

from single_step_cases import B, H, I, T, both, each_twin, loop, sequence, total, twins  # noqa: E402
from torch_cases import assert_near, flat, gradients  # noqa: E402

# How often and in which parts backward runs.


@each_twin
def test_a_graph_that_is_retained(name: str) -> None:
    def run(cell: Any, x: Any) -> None:
        loss = total(loop(cell, x))
        for _ in range(3):
            loss.backward(retain_graph=True)

    both(name, run)


@each_twin
def test_a_part_of_a_graph_leaves_nothing_behind(name: str) -> None:
    def run(cell: Any, x: Any) -> Any:
        states = loop(cell, x)
        loss = total(states)
        wanted = torch.autograd.grad(loss, x, retain_graph=True)
        # c of PyTorch's LSTM also passes on the gradient of the h that is computed from it.
        inner = torch.autograd.grad(loss, flat(states[1])[0], retain_graph=True)
        some = torch.autograd.grad(loss, cell.weight_hh, retain_graph=True)
        total(states[:2]).backward(retain_graph=True)
        loss.backward()
        return wanted, inner, some

    both(name, run)


@each_twin
def test_truncated_backpropagation(name: str) -> None:
    def run(cell: Any, x: Any) -> None:
        state = None
        for part in x.chunk(2):  # the graph of the first half is freed before the second
            states = loop(cell, part, state)
            total(states).backward()
            last = states[-1]
            state = tuple(s.detach() for s in last) if isinstance(last, tuple) else last.detach()

    both(name, run)


def test_two_losses_whose_passes_interleave() -> None:
    def run(cell: Any, x: Any) -> Any:
        states = loop(cell, x)
        other, inner = total(states[1]), []

        def during(_: Any) -> None:  # a pass inside another one, over the same steps
            inner.append(torch.autograd.grad(other, cell.weight_ih, retain_graph=True))

        states[2][0].register_hook(during)
        total(states).backward(retain_graph=True)
        return inner

    both("LSTM", run)


def test_hooks_of_parameters_run_once() -> None:
    def run(cell: Any, x: Any) -> Any:
        calls: list[Any] = []
        cell.weight_hh.register_hook(lambda g: (calls.append(1), 2 * g)[1])
        cell.weight_ih.register_post_accumulate_grad_hook(lambda _: calls.append(2))
        total(loop(cell, x)).backward()
        assert sorted(calls) == [1, 2]

    both("LSTM", run)


@pytest.mark.parametrize("frozen", [["weight_hh"], ["weight_ih", "bias_hh"], [*"all"]], ids=str)
def test_frozen_weights(frozen: list[str]) -> None:
    def run(cell: Any, x: Any) -> None:
        for name, parameter in cell.named_parameters():
            parameter.requires_grad_(name not in frozen and frozen != [*"all"])
        total(loop(cell, x)).backward()

    both("GRU", run)


def test_no_pass_leaves_sums() -> None:
    _, cell = twins("LSTM", I, H)
    x = sequence(T, B, I)
    states = loop(cell, x)
    torch.autograd.grad(total(states), x, retain_graph=True)
    total(states).backward()
    _, weights = cell._kept._kept
    assert weights.sums._of_pass == {}


def test_nothing_keeps_a_cell_alive() -> None:
    _, cell = twins("LSTM", I, H)
    weight = weakref.ref(cell.weight_ih)
    total(loop(cell, sequence(T, B, I))).backward()
    del cell
    assert weight() is None


def test_passes_of_several_threads_share_a_gateway() -> None:
    theirs, cell = twins("LSTM", I, H)
    x = sequence(6, T, B, I)
    losses = [total(loop(cell, one)) for one in x]

    def weight_gradient(loss: Any) -> Any:
        return torch.autograd.grad(loss, list(cell.parameters()))

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(weight_gradient, losses))
    for one, got in zip(x, found, strict=True):
        expected = torch.autograd.grad(total(loop(theirs, one)), list(theirs.parameters()))
        assert_near(got, expected)


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing(reentrant: bool) -> None:
    def run(cell: Any, x: Any) -> None:
        first = loop(cell, x[:2])[-1]
        second = checkpoint(
            lambda v, h: loop(cell, v, h)[-1], x[2:], first, use_reentrant=reentrant
        )
        total(second).backward()

    both("GRU", run)


def test_hooks_on_saved_tensors() -> None:
    def run(cell: Any, x: Any) -> None:
        with torch.autograd.graph.save_on_cpu():
            states = loop(cell, x)
        total(states).backward()

    both("LSTM", run)


# Weights that change.


def step_of_optimizer(cell: Any) -> None:
    total(cell(torch.ones(1, I, dtype=torch.float64))).backward()
    torch.optim.Adam(cell.parameters()).step()


def through_data(cell: Any) -> None:
    for parameter in cell.parameters():
        parameter.data.mul_(0.5)


def other_memory(cell: Any) -> None:
    cell.weight_hh.data = 2 * cell.weight_hh.data


def other_parameter(cell: Any) -> None:
    cell.bias_hh = torch.nn.Parameter(torch.ones_like(cell.bias_hh))


def load(cell: Any) -> None:
    cell.load_state_dict({name: w + 1 for name, w in cell.state_dict().items()})


CHANGES = [step_of_optimizer, through_data, other_memory, other_parameter, load]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_weights_are_packed_once_until_they_change(change: Any, packs: list[str]) -> None:
    theirs, ours = twins("LSTM", I, H)
    x = sequence(T, B, I)
    for count in (1, 2):
        loop(ours, x)
        with torch.no_grad():
            loop(ours, x)
        assert len(packs) == count
        if count == 1:
            change(theirs)
            change(ours)
    assert_near(loop(ours, x), loop(theirs, x))


def test_weights_that_change_before_backward() -> None:
    for cell in twins("LSTM", I, H):
        loss = total(loop(cell, sequence(T, B, I)))
        with torch.no_grad():
            cell.weight_hh.mul_(0.5)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


def test_states_that_change_before_backward() -> None:
    _, cell = twins("GRU", I, H)
    h = cell(sequence(B, I))
    loss = total(cell(sequence(B, I), h))
    with torch.no_grad():
        h.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_state_may_change_if_no_step_reads_it() -> None:
    _, cell = twins("RNN", I, H)
    x = sequence(B, I)
    expected = gradients(cell(x), [x])
    h = cell(x)
    with torch.no_grad():
        h.detach().numpy()[:] = 7
    torch.manual_seed(7)
    got = torch.autograd.grad((h * torch.randn_like(h)).sum(), [x])
    assert_near(got, expected)


def test_parametrized_weights() -> None:
    def run(cell: Any, x: Any) -> None:
        torch.nn.utils.parametrizations.weight_norm(cell, "weight_hh")
        total(loop(cell, x)).backward()

    both("LSTM", run)


def test_a_module_that_gets_another_dtype() -> None:
    theirs, ours = twins("LSTM", I, H, dtype=torch.float32)
    x = torch.randn(B, I)
    assert_near(ours(x), theirs(x))
    assert_near(ours.double()(x.double()), theirs.double()(x.double()))


def test_inference_tensors() -> None:
    with torch.inference_mode():
        theirs, ours = twins("GRU", I, H)
        x = torch.randn(B, I, dtype=torch.float64)
        assert_near(ours(x), theirs(x))
