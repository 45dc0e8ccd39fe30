"""PyTorch's own samples for its recurrent modules, run on the drop-in layers."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("expecttest", reason="PyTorch's test suite needs expecttest")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_modules import ModuleErrorEnum, module_db

import rnnfast.torch as fast  # noqa: E402
from torch_cases import assert_near, flat, gradients  # noqa: E402

# PyTorch's own layer warns when it falls back.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")
INFOS = {
    info.module_cls: info
    for info in module_db
    if info.module_cls in (torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN)
}
each_module = pytest.mark.parametrize("info", INFOS.values(), ids=lambda i: i.module_cls.__name__)
each_mode = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])


def samples(info: Any, dtype: Any, training: bool) -> Iterator[tuple[Any, Any, Any]]:
    """Return PyTorch's module, ours with the same weights, and the sample."""
    options = {"device": "cpu", "dtype": dtype, "requires_grad": True, "training": training}
    found = info.module_inputs_func(info, **options)
    assert len(found) >= 16
    for sample in found:
        made = sample.constructor_input
        theirs = info.module_cls(*made.args, **made.kwargs).to(dtype).train(training)
        ours = getattr(fast, info.module_cls.__name__)(*made.args, **made.kwargs)
        ours = ours.to(dtype).train(training)
        ours.load_state_dict(theirs.state_dict())
        yield theirs, ours, sample


@each_module
@each_mode
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_forward_and_gradients(info: Any, training: bool, dtype: Any) -> None:
    for theirs, ours, sample in samples(info, dtype, training):
        args, kwargs = sample.forward_input.args, sample.forward_input.kwargs
        got, expected = ours(*args, **kwargs), theirs(*args, **kwargs)
        assert_near(got, expected)
        assert_near(got, sample.reference_fn(ours, *args, **kwargs))
        inputs = flat(args)
        assert_near(
            gradients(got, [*inputs, *ours.parameters()]),
            gradients(expected, [*inputs, *theirs.parameters()]),
        )


def differentiated(ours: Any, sample: Any) -> tuple[Any, list[Any]]:
    """Return a function of tensors for gradcheck, and the tensors."""
    args = sample.forward_input.args
    inputs, names = flat(args), [name for name, _ in ours.named_parameters()]

    def call(*tensors: Any) -> Any:
        given, weights = list(tensors[: len(inputs)]), tensors[len(inputs) :]
        for name, weight in zip(names, weights, strict=True):
            delattr(ours, name)
            setattr(ours, name, weight)
        x = given.pop(0)
        hx = () if not given else (given[0] if len(given) == 1 else tuple(given),)
        return tuple(flat(ours(x, *hx)))

    return call, [*inputs, *(p.detach().requires_grad_() for p in ours.parameters())]


@each_module
@each_mode
def test_gradcheck(info: Any, training: bool) -> None:
    for _, ours, sample in samples(info, torch.float64, training):
        call, tensors = differentiated(ours, sample)
        assert torch.autograd.gradcheck(call, tensors, fast_mode=True)


@each_module
@pytest.mark.parametrize(
    "training", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["train", "eval"]
)
def test_gradgradcheck(info: Any, training: bool) -> None:
    for _, ours, sample in samples(info, torch.float64, training):
        call, tensors = differentiated(ours, sample)
        assert torch.autograd.gradgradcheck(call, tensors, fast_mode=True)


@each_module
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_errors(info: Any, dtype: Any) -> None:
    options = {"device": "cpu", "dtype": dtype, "requires_grad": False, "training": False}
    found = info.module_error_inputs_func(info, **options)
    assert len(found) >= 10
    for error in found:
        made, forward = error.module_error_input.constructor_input, None
        layer = getattr(fast, info.module_cls.__name__)
        if error.error_on == ModuleErrorEnum.CONSTRUCTION_ERROR:
            with pytest.raises(error.error_type, match=error.error_regex):
                layer(*made.args, **made.kwargs)
        else:
            forward = error.module_error_input.forward_input
            ours = layer(*made.args, **made.kwargs)
            with pytest.raises(error.error_type, match=error.error_regex):
                ours(*forward.args, **forward.kwargs)
