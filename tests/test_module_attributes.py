"""What models accept as attributes: modules that are found, and errors for those that are not."""

from __future__ import annotations

import functools
import time
from collections import UserDict, UserList, deque
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from rnnfast import GRU, Adam, Linear, Module


class Slotted:
    """An object without a `__dict__` that holds a layer."""

    __slots__ = ("layer",)

    def __init__(self) -> None:
        self.layer = Linear(2, 2)


def objects(*items: Any) -> np.ndarray:
    array = np.empty(len(items), object)
    array[:] = items
    return array


HIDING = {
    "UserList": lambda: UserList([Linear(2, 2)]),
    "UserDict": lambda: UserDict(a=Linear(2, 2)),
    "mappingproxy": lambda: MappingProxyType({"a": Linear(2, 2)}),
    "ndarray": lambda: objects(Linear(2, 2)),
    "partial": lambda: functools.partial(Linear(2, 2)),
    "partial of an argument": lambda: functools.partial(print, Linear(2, 2)),
    "method": lambda: Linear(2, 2).call,
    "Slotted": Slotted,
    "set": lambda: {Linear(2, 2)},
}


@pytest.mark.parametrize("make", HIDING.values(), ids=HIDING)
def test_layers_where_no_walk_finds_them_are_refused(make: Any) -> None:
    model = Module()
    with pytest.raises(TypeError, match="parts: expected modules and parameters as attributes"):
        model.parts = make()
    model.parts = []
    model.parts.append(make())
    with pytest.raises(TypeError, match=r"parts\.0: expected modules and parameters as attributes"):
        list(model.parameters())
    with pytest.raises(TypeError, match=r"parts\.0"):
        Adam(model)


def test_a_layer_put_into_a_set_later_is_refused_when_parameters_are_asked_for() -> None:
    model = Module()
    model.layer, model.more = Linear(2, 2), set()
    model.more.add(Linear(2, 2))
    with pytest.raises(TypeError, match=r"more: .* got some in a set; use a list"):
        model.state_dict()


def test_layers_as_keys_of_a_dict_are_refused() -> None:
    model = Module()
    with pytest.raises(TypeError, match=r"names: expected modules .* got one as a key"):
        model.names = {Linear(2, 2): "one"}


@pytest.mark.parametrize(
    "make",
    [
        lambda layers: (layer for layer in layers),
        lambda layers: map(id, layers),
        lambda layers: filter(None, layers),
        lambda layers: zip(layers, layers, strict=True),
        iter,
        enumerate,
        reversed,
        lambda layers: [iter(layers)],
    ],
)
def test_what_gives_layers_once_is_refused_and_not_consumed(make: Any) -> None:
    model, layers = Module(), [Linear(2, 2)]
    once = make(layers)
    with pytest.raises(TypeError, match=r"layers.*: expected .* more than once.*use a list"):
        model.layers = once
    assert len(list(once)) == 1


def test_what_refers_to_a_layer_of_the_model_is_taken() -> None:
    model = Module()
    model.layer = Linear(2, 2)
    model.run = functools.partial(model.layer)
    model.step = [model.layer.call, model.parameters]
    model.optimizer = Adam(model)
    model.last = Linear(2, 2).call(np.zeros((1, 2), np.float32))
    assert [p.name for p in model.parameters()] == ["layer.weight", "layer.bias"]


def test_layers_as_attributes_of_the_class_are_refused() -> None:
    with pytest.raises(TypeError, match=r"Shared\.layers\.0: expected .* in `__init__`"):

        class Shared(Module):
            layers = [GRU(2, 2)]  # noqa: RUF012


@pytest.mark.parametrize("name", ["parameters", "train", "eval", "state_dict", "zero_grad"])
def test_an_attribute_cannot_take_the_name_of_a_method(name: str) -> None:
    model = Module()
    with pytest.raises(ValueError, match=f"{name}: expected another name"):
        setattr(model, name, GRU(2, 2))
    assert list(model.parameters()) == []


def test_a_list_or_a_model_that_holds_itself_is_refused() -> None:
    model, inner, items = Module(), Module(), []
    items.append(items)
    with pytest.raises(ValueError, match=r"items\.0: expected a list that does not contain itself"):
        model.items = items
    with pytest.raises(ValueError, match="me: expected a module that does not contain the module"):
        model.me = model
    model.inner = [inner]
    with pytest.raises(ValueError, match="outer: expected a module that does not contain the"):
        inner.outer = model
    inner.parts = []
    inner.parts.append(model)
    inner.layer = Linear(2, 2)
    assert len(list(model.parameters())) == 2
    for use in (model.train, model.eval, lambda: repr(model)):
        with pytest.raises(ValueError, match=r"inner\.0: expected a module that does not contain"):
            use()


def test_a_long_list_of_numbers_costs_next_to_nothing() -> None:
    model, values = Module(), list(range(10**6))
    model.layer = Linear(2, 2)

    def seconds(use: Any) -> float:
        start = time.perf_counter()
        use()
        return time.perf_counter() - start

    pure = min(seconds(lambda: set(map(type, values))) for _ in range(5))

    def use() -> None:
        model.values = values
        list(model.parameters())

    assert min(seconds(use) for _ in range(5)) < 5 * pure  # a walk in Python takes 30 times as long


def test_things_without_modules_are_taken_as_they_are() -> None:
    model = Module()
    things = [{1, 2}, deque("ab"), {"a": 1}.values(), object(), len, objects(1, "a"), UserList("a")]
    model.things = things
    model.array, model.text, model.of = objects(1), "text", functools.partial(len, "abc")
    assert list(model.parameters()) == []
    assert model.things is things


def test_calling_a_model_that_has_forward_tells_what_to_define() -> None:
    class Model(Module):
        def forward(self, x: Any) -> Any:
            return x

    with pytest.raises(TypeError, match=r"Model: expected a method `__call__`.*`forward`"):
        Model()(1)
    with pytest.raises(TypeError, match="Module: expected a method `__call__`"):
        Module()(1, x=2)
