"""Lists and dicts of modules: names, the methods of lists and dicts, and errors."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import rnnfast
from rnnfast import Linear, ModuleDict, ModuleList


def linear(seed: int) -> Linear:
    return Linear(2, 2, seed=seed)


def names(module: rnnfast.Module) -> list[str]:
    return [parameter.name for parameter in module.parameters()]


def test_a_list_has_the_names_of_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    modules = ModuleList([linear(0), rnnfast.GRU(2, 3)])
    theirs = torch.nn.ModuleList([torch.nn.Linear(2, 2), torch.nn.GRU(2, 3)])
    assert names(modules) == list(theirs.state_dict())


def test_a_list_has_the_methods_of_a_list() -> None:
    a, b, c, d = map(linear, range(4))
    modules = ModuleList([a, b])
    modules.append(c)
    modules.insert(1, d)
    modules.insert(-1, b)
    assert [*modules] == [a, d, b, b, c]
    modules += [a]
    del modules[0]
    assert modules.pop() is a
    modules[0] = c
    modules[1:3] = [d]
    assert [*modules] == [c, d, c]
    assert [*modules[1:]] == [d, c]
    assert modules[-1] is c
    assert modules.index(d) == 1
    assert names(modules) == ["0.weight", "0.bias", "1.weight", "1.bias"]  # c is listed once


def test_a_dict_has_the_methods_of_a_dict() -> None:
    a, b = linear(0), linear(1)
    modules = ModuleDict({"first": a})
    modules["second"] = b
    modules.update(third=a)
    assert list(modules.items()) == [("first", a), ("second", b), ("third", a)]
    assert names(modules) == ["first.weight", "first.bias", "second.weight", "second.bias"]
    assert modules.pop("first") is a
    del modules["second"]
    assert list(modules) == ["third"]
    assert "third" in modules
    with pytest.raises(KeyError, match="second"):
        modules["second"]


class Model(rnnfast.Module):
    """A model that holds a list and a dict of modules."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = ModuleList([linear(0), linear(1)])
        self.heads = ModuleDict({"a": linear(2)})


def test_models_hold_them() -> None:
    model = Model()
    assert names(model) == [
        *("layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias"),
        *("heads.a.weight", "heads.a.bias"),
    ]
    model.eval()
    assert not model.layers[1].training
    assert not model.heads["a"].training
    assert "(layers): ModuleList(" in repr(model)
    again = pickle.loads(pickle.dumps(model))
    other = Model()
    other.load_state_dict(again.state_dict())
    np.testing.assert_array_equal(other.heads["a"].weight.value, model.heads["a"].weight.value)  # type: ignore[attr-defined]


def test_modules_are_equal_to_themselves_alone() -> None:
    a, b = ModuleDict(), ModuleDict()
    assert a == a
    assert a != b
    assert len({a, b}) == 2


WRONG: Any = 3


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: ModuleList([linear(0), WRONG]),
            TypeError,
            r"modules\[1\]: expected a module, got int",
        ),
        (lambda: ModuleList().append(WRONG), TypeError, "value: expected a module, got int"),
        (
            lambda: ModuleDict({"a": WRONG}),
            TypeError,
            r"modules\['a'\]: expected a module, got int",
        ),
        (lambda: ModuleDict({"a.b": linear(0)}), ValueError, "name: .* without a dot, got 'a.b'"),
        (lambda: ModuleDict({"": linear(0)}), ValueError, "name: .* without a dot, got ''"),
        (lambda: ModuleDict({WRONG: linear(0)}), TypeError, "name: expected a string, got int"),
    ],
)
def test_errors(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
