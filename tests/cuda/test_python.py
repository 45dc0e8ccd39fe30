"""The Python side on a device: where arrays come from and go to, and what a device refuses."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest

import cases
import rnnfast
from cases import Case
from rnnfast import functional
from rnnfast._engine import backends
from rnnfast._engine.backends import get as engine

CASE = Case("lstm", T=4, B=3, I=5, H=7, L=2, D=2, lengths=True)


def weights_on(device: str, case: Case = CASE) -> list[functional.Weights]:
    backend = engine(device)
    return [
        functional.Weights(*(None if w is None else backend.asarray(w) for w in layer))
        for layer in cases.make_data(case).weights
    ]


def test_results_are_where_the_weights_are(device: str) -> None:
    d, backend = cases.make_data(CASE), engine(device)
    y, state, reserve = functional.forward(
        "lstm", d.x, weights_on(device), d.state, lengths=d.lengths, training=True, **CASE.options
    )
    assert reserve is not None
    assert reserve.backend is backend
    dx, dstate, dweights = functional.backward(reserve, d.dy, d.dstate)
    assert dx is not None
    for array in (y, *state, dx, *dstate, *(g for w in dweights for g in w if g is not None)):
        assert backends.of(array) is backend
        assert array.dtype == np.float32


def test_arrays_of_others_come_in_by_dlpack_and_leave_by_it(device: str) -> None:
    torch = pytest.importorskip("torch")
    d, backend = cases.make_data(CASE), engine(device)
    x = torch.from_dlpack(backend.asarray(d.x.copy()))
    y, _, _ = functional.forward("lstm", x, weights_on(device), **CASE.options)
    z = torch.from_dlpack(y)
    assert z.shape == y.shape
    z.zero_()
    assert not backend.to_host(y).any(), "the memory is shared"


def test_gradients_are_added_to_arrays_that_are_given(device: str) -> None:
    d, backend = cases.make_data(CASE), engine(device)
    weights = weights_on(device)

    def backward(start: float | None) -> list[np.ndarray]:
        _, _, reserve = functional.forward(
            "lstm", d.x, weights, training=True, lengths=d.lengths, **CASE.options
        )
        given = None
        if start is not None:
            given = [
                functional.Weights(
                    *(a if a is None else backend.asarray(np.full(a.shape, start, "f")) for a in w)
                )
                for w in weights
            ]
        result = functional.backward(reserve, d.dy, dweights=given)[2]
        return [backend.to_host(a) for w in result for a in w if a is not None]

    for plain, added in zip(backward(None), backward(1.0), strict=True):
        np.testing.assert_allclose(added, plain + 1, rtol=0, atol=4e-6 * (1 + np.abs(plain).max()))


def test_two_calls_give_the_same_bits(device: str) -> None:
    d, backend = cases.make_data(CASE), engine(device)

    def run() -> bytes:
        _, _, reserve = functional.forward(
            "lstm", d.x, weights_on(device), d.state, training=True, dropout=0.4, **CASE.options
        )
        dx, dstate, dweights = functional.backward(reserve, d.dy, d.dstate)
        arrays = [dx, *dstate, *(g for w in dweights for g in w if g is not None)]
        return b"".join(backend.to_host(a).tobytes() for a in arrays)

    assert run() == run()


def test_what_the_device_does_not_do_is_refused(device: str) -> None:
    with pytest.raises(
        TypeError, match=f"dtype: expected float32 on device '{device}', got float6"
    ):
        rnnfast.LSTM(3, 4, dtype="float64", device=device)
    with pytest.raises(ValueError, match=f"recompute: expected False on device '{device}'"):
        rnnfast.LSTM(3, 4, recompute=True, device=device)
    message = rf"zoneout, .*: expected 0 on device '{device}', .* got zoneout = 0\.1"
    with pytest.raises(ValueError, match=message):
        rnnfast.LSTM(3, 4, zoneout=0.1, device=device)
    with pytest.raises(ValueError, match=message):
        functional.forward(
            "lstm", np.zeros((2, 1, 5)), weights_on(device), zoneout=0.1, **CASE.options
        )
    with pytest.raises(ValueError, match=f"proj_size: expected no projection on device '{device}'"):
        rnnfast.LSTM(3, 4, proj_size=2, device=device)
    with pytest.raises(ValueError, match=f"context_size: expected no context on device '{device}'"):
        rnnfast.LSTM(3, 4, context_size=2, device=device)
    with pytest.raises(ValueError, match=f"reset: expected None on device '{device}'"):
        rnnfast.LSTM(3, 4, device=device)(np.zeros((2, 1, 3), "f"), reset=[[True], [False]])
    x = np.zeros((2, 1, 5), "complex64")
    with pytest.raises(TypeError, match="x: expected real numbers to convert to dtype float32"):
        functional.forward("lstm", x, weights_on(device), **CASE.options)


def test_arguments_are_checked_as_on_the_cpu(device: str) -> None:
    layer = rnnfast.GRU(3, 4, device=device)
    with pytest.raises(IndexError, match=r"x: expected indices in \[0, input_size\) = \[0, 3\), g"):
        layer(np.array([[3]]))
    with pytest.raises(ValueError, match=r"lengths: expected values in \[0, seq_len\] = \[0, 2\]"):
        layer(np.zeros((2, 1, 3), "f"), lengths=[3])
    with pytest.raises(ValueError, match="x: expected shape"):
        layer(np.zeros((2, 1, 4), "f"))
    table = rnnfast.Embedding(5, 2, device=device)
    with pytest.raises(IndexError, match=r"x: expected indices in \[0, num_embeddings\)"):
        table([5])
    logits = engine(device).asarray(np.zeros((2, 3), "f"))
    with pytest.raises(
        IndexError, match=r"targets: expected values in \[0, classes\) = \[0, 3\) or"
    ):
        rnnfast.softmax_cross_entropy(logits, [0, 7])


def test_parameters_of_two_devices_do_not_mix(device: str) -> None:
    layers = rnnfast.Linear(2, 2), rnnfast.Linear(2, 2, device=device)
    parameters = [p for layer in layers for p in layer.parameters()]
    with pytest.raises(ValueError, match=f"one device for all, got cpu and {device}"):
        rnnfast.SGD(parameters)


def test_a_state_dict_goes_from_device_to_device(device: str) -> None:
    layer = rnnfast.LSTM(3, 4, 2, seed=1, device=device)
    assert layer.device == device
    saved = layer.state_dict()
    assert all(type(array) is np.ndarray for array in saved.values())
    on_cpu = rnnfast.LSTM(3, 4, 2, seed=2)
    on_cpu.load_state_dict(saved)
    cases.assert_identical(on_cpu.state_dict(), rnnfast.LSTM(3, 4, 2, seed=1).state_dict())
    back = rnnfast.LSTM(3, 4, 2, seed=3, device=device)
    back.load_state_dict(on_cpu.state_dict())
    cases.assert_identical(back.state_dict(), saved)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies_of_layers_stay_on_the_device(device: str, copied: object) -> None:
    if device == "emulated_ptx" and copied is not copy.deepcopy:
        pytest.skip("a pickled array of the emulator is one of 'emulated'")
    layer = rnnfast.GRU(3, 4, seed=1, device=device)
    other = copied(layer)  # type: ignore[operator]
    assert other.device == device
    next(other.parameters()).value[...] = 0
    assert layer.state_dict()["weight_ih_l0"].any()


def test_a_stream_takes_the_weights_as_they_were(device: str) -> None:
    layer, backend = rnnfast.LSTM(3, 4, 2, seed=1, device=device), engine(device)
    x = np.random.default_rng(0).standard_normal((5, 2, 3)).astype("float32")
    y, (h, c) = layer(x)
    stream = layer.stream(2)
    for p in layer.parameters():
        p.value[...] = 0
    steps = [backend.to_host(stream(step)) for step in x]
    # Sums of nine terms of order 1, whose order may differ.
    np.testing.assert_allclose(steps, backend.to_host(y), rtol=0, atol=2e-6)
    np.testing.assert_allclose(
        backend.to_host(stream.state[1]), backend.to_host(c), rtol=0, atol=2e-6
    )
    assert backend.to_host(h).shape == (2, 2, 4)


def test_training_on_the_device_follows_the_cpu(device: str, tmp_path: Path) -> None:
    from rnnfast.training import CharLM, CharLMConfig, CharLMTrainer, TrainingOptions, Vocabulary

    text = "the quick brown fox jumps over the lazy dog. " * 20
    config = CharLMConfig("gru", hidden_size=12, num_layers=2, embedding_size=5, dropout=0.1)
    options = TrainingOptions(
        batch=3, seq_len=8, steps=6, validation=0.1, sample_length=0, checkpoint_every=3
    )

    def train(device: str) -> tuple[list[float], CharLMTrainer]:
        model = CharLM(Vocabulary(text), config, seed=1, device=device)
        trainer = CharLMTrainer(model, text, options, output=tmp_path / f"{device}.safetensors")
        trainer.run()
        assert trainer.training_bits is not None
        assert trainer.validation_bits is not None
        return [trainer.training_bits, trainer.validation_bits], trainer

    bits, trainer = train(device)
    expected, _ = train("cpu")
    # Adam divides by the root of a square. Where the gradients of the first steps are small, a
    # float32 error in them becomes as large as the gradient itself.
    np.testing.assert_allclose(bits, expected, rtol=2e-3)
    model = CharLM.load(tmp_path / f"{device}.safetensors", device=device)
    assert model.bits_per_character(text) == pytest.approx(
        trainer.model.bits_per_character(text), rel=1e-6
    )
    assert len(model.sample(5, seed=1)) == 5
