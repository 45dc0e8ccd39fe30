"""Files of modules of any class: their parameters, and the arguments to construct them again."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import cases
import rnnfast
from rnnfast import CheckpointError, Embedding, Linear, Module, _files
from rnnfast.cells import tanh
from rnnfast.training import CharLM, Vocabulary


class Tagger(Module):
    """A model as users would write it."""

    def __init__(
        self,
        sizes: dict[str, int],
        cell: Any = "gru",
        *extra: Linear,
        dtype: Any = np.float32,
        rates: tuple[float, ...] = (0.1, float("inf")),
        seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.embedding = Embedding(sizes["words"], 3, dtype=dtype, seed=seed)
        self.rnn = rnnfast.Recurrent(cell, 3, 3, dtype=dtype, seed=seed, **options)
        self.head = Linear(3, sizes["words"], dtype=dtype, seed=seed)
        self.extra, self.rates = list(extra), rates

    def __call__(self, x: np.ndarray) -> np.ndarray:
        y = self.head(self.rnn(self.embedding(x))[0])
        for layer in self.extra:
            y = layer(y)
        return y


class Holder(Module):
    def __init__(self, layers: list[Module]) -> None:
        super().__init__()
        self.layers = list(layers)


def step(x: Any, recurrent: Any, state: Any, _channel: Any) -> Any:
    return (tanh(x[0] - 0.5 * recurrent(state[0])[0]),)


def sequence_layers() -> list[Module]:
    """Return layers that turn a sequence of vectors of 3 numbers into a vector of 2 numbers."""
    return [
        rnnfast.Conv1d(3, 4, 3, padding="causal"),
        rnnfast.Residual(rnnfast.Sequential(rnnfast.LayerNorm(4), Linear(4, 4), rnnfast.SiLU())),
        rnnfast.GRU(4, 5, bidirectional=True),
        rnnfast.MergeDirections("max"),
        rnnfast.Last(),
        rnnfast.Dropout(0.3),
        Linear(5, 2),
    ]


def grown(modules: rnnfast.ModuleList) -> rnnfast.ModuleList:
    modules.append(rnnfast.LayerNorm(3))
    return modules


def tagger(**options: Any) -> Tagger:
    return Tagger({"words": 5}, "lstm", Linear(5, 5), Linear(5, 2), num_layers=2, **options)


def saved(module: Module, path: Path) -> Module:
    module.save(path)
    return type(module).load(path)


MODULES: dict[str, Callable[[], Module]] = {
    "LSTM": lambda: rnnfast.LSTM(2, 3, 2, False, True, 0.5, True, learn_state=True),
    "projected": lambda: rnnfast.LSTM(2, 3, recompute=True, proj_size=2),
    "GRU": lambda: rnnfast.GRU(2, 3, reset_after=False, dtype="float64"),
    "RNN": lambda: rnnfast.RNN(2, 3, 1, "relu", precision="bfloat16"),
    "PeepholeLSTM": lambda: rnnfast.PeepholeLSTM(2, 3, zoneout=(0.1, 0.2), recompute=4),
    "zoo": lambda: rnnfast.Recurrent("mgu", 2, np.int64(3)),  # type: ignore[arg-type]
    "Embedding": lambda: Embedding(4, 2, dtype=np.dtype("float64")),
    "Linear": lambda: Linear(2, 3, False),
    "Tagger": tagger,
    "Sequential": lambda: rnnfast.Sequential(*sequence_layers()),
    "list": lambda: grown(rnnfast.ModuleList(Linear(2, 3) for _ in range(2))),
    "dict": lambda: rnnfast.ModuleDict({"one": Linear(2, 3), "two": rnnfast.GRU(2, 2)}),
    "appended": lambda: rnnfast.Sequential(Linear(2, 3)).append(rnnfast.GELU("tanh")),
    "Holder": lambda: Holder([shared := Linear(2, 2), rnnfast.GRU(2, 2), shared]),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_comes_back(name: str, tmp_path: Path) -> None:
    module = MODULES[name]()
    other = saved(module, tmp_path / "model.safetensors")
    cases.assert_identical(other.state_dict(), module.state_dict())
    assert type(other) is type(module)
    assert repr(other) == repr(module)
    assert not other.training
    assert other.get_config() == module.get_config()
    json.dumps(module.get_config(), allow_nan=False)
    assert repr(rnnfast.load(tmp_path / "model.safetensors")) == repr(module)
    assert [p.name for p in (tmp_path).iterdir()] == ["model.safetensors"]


def test_a_model_of_ones_own_computes_the_same(tmp_path: Path) -> None:
    model = tagger(dtype=np.float64, rates=(1.0,))
    other = saved(model, tmp_path / "m")
    assert isinstance(other, Tagger)
    x = np.array([[0, 1], [4, 2]])
    np.testing.assert_array_equal(other(x), model(x))
    assert other.rates == (1.0,)
    other.train()
    other.head(np.ones(3))


def test_a_sequential_computes_the_same(tmp_path: Path) -> None:
    first, *others = sequence_layers()
    model = rnnfast.Sequential(first)
    for layer in others:
        model.append(layer)
    other = saved(model, tmp_path / "m")
    assert isinstance(other, rnnfast.Sequential)
    x = np.random.default_rng(1).standard_normal((7, 4, 3)).astype("float32")
    lengths = np.array([7, 1, 3, 5])
    model.eval()
    np.testing.assert_array_equal(other(x, lengths), model(x, lengths))
    np.testing.assert_array_equal(rnnfast.load(tmp_path / "m")(x), model(x))
    assert other.train()[5].p == 0.3  # type: ignore[attr-defined]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_can_be_saved(copied: Callable[[Module], Module], tmp_path: Path) -> None:
    model = tagger()
    other = saved(copied(model), tmp_path / "m")
    cases.assert_identical(other.state_dict(), model.state_dict())


def test_arguments_are_as_they_were_given(tmp_path: Path) -> None:
    layers: list[Module] = [Linear(2, 2)]
    model = Holder(layers)
    layers.append(Linear(3, 3))
    assert len(saved(model, tmp_path / "m").layers) == 1  # type: ignore[attr-defined]


def test_shared_and_tied_parameters_stay_so(tmp_path: Path) -> None:
    shared = Linear(2, 2)
    holder = saved(Holder([shared, Linear(2, 2), shared]), tmp_path / "holder")
    assert isinstance(holder, Holder)
    assert holder.layers[0] is holder.layers[2]

    model = Tagger({"words": 5})
    model.head.tie(model.embedding)
    other = saved(model, tmp_path / "m")
    assert isinstance(other, Tagger)
    assert other.head.weight is other.embedding.weight
    assert set(other.state_dict()) == set(model.state_dict())
    assert "head.weight" not in other.state_dict()
    cases.assert_identical(other.state_dict(), model.state_dict())


OWN = (
    "from rnnfast.cells import tanh\n"
    + """
import rnnfast
model = rnnfast.load(PATH)
assert model.cell == NAME, model.cell
print(float(model([[[1.0, 2.0]]])[0].sum()))
"""
)


@pytest.mark.parametrize("registered", [False, True])
def test_a_cell_of_python_needs_no_code_of_its_own(registered: bool, tmp_path: Path) -> None:
    cell = rnnfast.Cell("own_saved", step)
    name = rnnfast.register(cell, "saved_by_name") if registered else cell
    layer = rnnfast.Recurrent(name, 2, 3, seed=1, device="cpu")
    path = tmp_path / "m.safetensors"
    layer.save(path)
    code = OWN.replace("PATH", repr(str(path))).replace("NAME", repr(layer.cell))
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    expected = float(layer([[[1.0, 2.0]]])[0].sum())
    assert float(ran.stdout) == expected
    model = Tagger({"words": 4}, cell)
    cases.assert_identical(saved(model, tmp_path / "t").state_dict(), model.state_dict())


def test_a_name_of_a_cell_with_other_equations_is_refused() -> None:
    layer = rnnfast.Recurrent(rnnfast.Cell("own_saved_2", step), 2, 3)
    config = layer.get_config()
    (graph,) = config["cells"].values()
    config["cells"] = {"gru": graph}
    with pytest.raises(ValueError, match="expected a name that is not taken by a cell"):
        Module.from_config(config)


# ---- what cannot be written


class Odd(Module):
    def __init__(self, thing: Any = None, *, inner: Any = None) -> None:
        super().__init__()
        self.linear = Linear(2, 2)
        self.given = thing is not None
        self.inner = inner


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (np.ones(2), r"Odd: thing: expected an argument that a file can hold .*got ndarray"),
        (lambda x: x, "Odd: thing: .*got function"),
        ({"a": [1, {1, 2}]}, r"Odd: thing\['a'\]\[1\]: .*got set"),
        ({1: 2}, "Odd: thing: .*got dict"),
        (Linear, "Odd: thing: .*got type"),
    ],
    ids=["array", "function", "set", "dict of numbers", "class"],
)
def test_arguments_that_a_file_cannot_hold(thing: Any, message: str, tmp_path: Path) -> None:
    model = Odd(thing)
    copy.deepcopy(model)
    pickle.dumps(Odd(np.ones(2)))
    with pytest.raises(TypeError, match=message):
        model.save(tmp_path / "m")
    with pytest.raises(TypeError, match=message):
        Holder([model]).save(tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_a_language_model_inside_says_what_is_wrong(tmp_path: Path) -> None:
    model = Odd(inner=CharLM(Vocabulary("ab")))
    with pytest.raises(TypeError, match=r"CharLM: vocabulary: expected .*, got Vocabulary"):
        model.save(tmp_path / "m")


def test_parameters_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    model = Linear(2, 2)
    model.bias[0] = np.nan
    with pytest.raises(CheckpointError, match="m: was not written, as bias is not finite"):
        model.save(tmp_path / "m")
    with pytest.raises(CheckpointError, match=r"cannot be written: .* is not a directory"):
        Linear(2, 2).save(tmp_path / "gone" / "m")
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m"
    model = Linear(2, 2)
    model.save(path)

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_files.os, "fsync", fail)
    with pytest.raises(CheckpointError, match="cannot be written: No space left on device"):
        Linear(2, 2).save(path)
    monkeypatch.undo()
    cases.assert_identical(Linear.load(path).state_dict(), model.state_dict())
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


# ---- what cannot be read


def refused(path: Path, kind: type[Module] = Module) -> str:
    with pytest.raises(CheckpointError) as caught:
        kind.load(path)
    return str(caught.value).removeprefix(f"{path}: ")


def test_damaged_and_foreign_files(tmp_path: Path) -> None:
    path = tmp_path / "m"
    tagger().save(path)
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert refused(path) == "is damaged: its contents do not match its checksum"
    path.write_bytes(good.replace(b"rnnfast:Linear", b"rnnfast:Linfar", 1))
    assert refused(path) == "is damaged: its contents do not match its checksum"
    for end in range(0, len(good), 97):
        path.write_bytes(good[:end])
        assert refused(path).startswith("is not a model file, or is damaged")
    safetensors.numpy.save_file({"weight": np.zeros(3)}, path)
    assert refused(path) == "is not a model file of rnnfast"
    CharLM(Vocabulary("ab")).save(path)
    assert refused(path) == (
        "is not a model file of rnnfast, but a file of format 'rnnfast-char-lm'"
    )
    assert refused(tmp_path / "gone") == "cannot be read: No such file or directory"
    assert refused(tmp_path) == "cannot be read: Is a directory"


def test_another_class_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m"
    rnnfast.GRU(2, 3).save(path)
    no = "contains no model that can be built: "
    assert refused(path, rnnfast.LSTM) == f"{no}class: expected LSTM, got GRU"
    assert refused(path, Tagger) == f"{no}class: expected Tagger, got GRU"
    assert isinstance(rnnfast.Recurrent.load(path), rnnfast.GRU)


def rewritten(module: Module, path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Write a valid file with other contents."""
    from rnnfast._engine import tensor_files
    from rnnfast.layers.constructed import _format

    config = json.loads(json.dumps(module.get_config()))
    tensors = module.state_dict()
    change({"config": config, "tensors": tensors})
    tensor_files.write(path, _format(), {"model": config}, tensors)


def test_missing_and_surplus_parameters(tmp_path: Path) -> None:
    path, no = tmp_path / "m", "contains no model that can be built: state_dict: "
    rewritten(Linear(2, 3), path, lambda f: f["tensors"].pop("bias"))
    assert refused(path) == f"{no}missing 'bias'"
    rewritten(Linear(2, 3), path, lambda f: f["tensors"].update(more=np.zeros(1)))
    assert refused(path) == f"{no}unexpected 'more'"
    rewritten(Linear(2, 3), path, lambda f: f["tensors"].update(weight=np.zeros((3, 3), "f4")))
    assert "weight: expected shape of the parameter = (3, 2), got (3, 3)" in refused(path)
    model = Holder([Linear(2, 2)])
    model.layers.append(Linear(2, 2))  # the constructor does not know about it
    model.save(path)
    assert refused(path) == f"{no}unexpected 'layers.1.bias', 'layers.1.weight'"


def edit(*keys: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(file: dict[str, Any]) -> None:
        place = file["config"]
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


LAST = ("modules", -1)
WRONG: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "class": (edit(*LAST, "class", value="os:system"), "class: .* got 'os:system'; import the"),
    "library": (edit(*LAST, "class", value="rnnfast:Tagger"), "class: .* got 'rnnfast:Tagger'"),
    "no class": (edit(*LAST, "class", value=3), "class: expected a string, got int"),
    "no module": (edit(*LAST, "class", value="rnnfast:Call"), "class: .* got 'rnnfast:Call'"),
    "argument": (edit(*LAST, "arguments", "colour", value=1), "Holder: .* constructor, got colour"),
    "self": (edit(*LAST, "arguments", "self", value=1), "Holder: .* constructor, got self"),
    "missing": (edit(*LAST, "arguments", value={}), "missing 1 required positional argument"),
    "arguments": (edit(*LAST, "arguments", value=[]), "attribute|list"),
    "itself": (
        edit(*LAST, "arguments", "layers", value=[{"module": 2}]),
        "position of an earlier module, got 2",
    ),
    "negative": (
        edit(*LAST, "arguments", "layers", value=[{"module": -1}]),
        "earlier module, got -1",
    ),
    "kind": (edit(*LAST, "arguments", "layers", value={"eval": "1"}), "expected one of cell, dict"),
    "two kinds": (
        edit(*LAST, "arguments", "layers", value={"module": 0, "cell": "x"}),
        "expected one of cell, dict",
    ),
    "empty kind": (edit(*LAST, "arguments", "layers", value={}), "expected one of cell, dict"),
    "dtype": (edit("modules", 0, "arguments", "dtype", value={"dtype": "O"}), "dtype"),
    "cell": (edit("modules", 0, "arguments", "bias", value={"cell": "nope"}), "cell: expected"),
    "cells": (edit("cells", value={"mine": {"name": "mine"}}), "description of a cell: expected"),
    "tied": (edit("tied", value={"layers.0.bias": "layers.9.bias"}), "tied: .*'layers.9.bias'"),
    "tied shapes": (
        edit("tied", value={"layers.0.bias": "layers.0.weight"}),
        r"layers\.0\.bias: expected shape of layers\.0\.weight",
    ),
    "tied lstm": (
        edit("tied", value={"layers.1.bias_ih_l0": "layers.1.bias_hh_l0"}),
        "bias_ih_l0: expected a module whose parameters can be tied",
    ),
    "no modules": (edit("modules", value=[]), "config: expected the description of a module"),
    "keys": (edit("modules", value=[{}]), r"modules\[0\]: missing 'class', 'arguments'"),
    "config": (lambda file: file["config"].pop("tied"), "config: missing 'tied'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_description_that_is_wrong_is_refused(name: str, tmp_path: Path) -> None:
    change, message = WRONG[name]
    path = tmp_path / "m"
    rewritten(Holder([Linear(2, 2), rnnfast.GRU(2, 2)]), path, change)
    with pytest.raises(CheckpointError, match=f"contains no model that can be built: .*{message}"):
        Module.load(path)


def test_a_class_of_a_script_is_found_by_its_name_alone(tmp_path: Path) -> None:
    path = tmp_path / "m"
    model = Holder([Odd()])
    description = "__main__:Holder"

    def elsewhere(file: dict[str, Any]) -> None:
        file["config"]["modules"][0]["class"] = "__main__:Odd"
        file["config"]["modules"][1]["class"] = description

    rewritten(model, path, elsewhere)
    assert isinstance(Holder.load(path), Holder)
    assert isinstance(rnnfast.load(path), Holder)

    def twins() -> list[type[Module]]:
        return [type("Twin", (Module,), {"__qualname__": "Twin", "__module__": m}) for m in "ab"]

    classes = twins()
    rewritten(classes[0](), path, edit(*LAST, "class", value="c:Twin"))
    assert "'c:Twin'; 2 classes have this name" in refused(path)
    assert type(classes[1].load(path)) is classes[1]


def test_names_of_methods_are_not_for_attributes() -> None:
    model = Module()
    for name in ("save", "load", "freeze", "get_config"):
        with pytest.raises(ValueError, match=f"{name}: expected another name for the attribute"):
            setattr(model, name, 1)


def test_unknown_devices_are_refused(tmp_path: Path) -> None:
    Linear(2, 2).save(tmp_path / "m")
    with pytest.raises(ValueError, match="device"):
        Linear.load(tmp_path / "m", device="abacus")
    assert Linear.load(tmp_path / "m", device="cpu").device == "cpu"
