"""arabic-diacritizer: vowels for Arabic text, by a bidirectional LSTM in PyTorch."""

from __future__ import annotations

from typing import Any

from packages import Package

import rnnfast

PACKAGE = Package("arabic-diacritizer", "1.0.0", "MIT")
TEXT = "ذهب الولد الى المدرسة في الصباح الباكر ثم عاد الى البيت بعد الظهر"


def model_and_input() -> Any:
    import torch
    from diacritize.baseline.model import BiLSTMDiacritizer

    model = BiLSTMDiacritizer.from_pretrained("diacritize/assets/bilstm_best.pt")
    return model, torch.tensor([model.tokenizer.encode(TEXT, add_special=False)])


def running(model: Any, ids: Any) -> Any:
    import torch

    def run() -> Any:
        with torch.inference_mode():
            return model(ids).numpy()

    return run


def theirs() -> Any:
    model, ids = model_and_input()
    return None, running(model, ids)


def ours(_: Any) -> Any:
    import rnnfast.torch

    model, ids = model_and_input()
    rnnfast.torch.accelerate(model)
    return running(model, ids)


def encoder_of_theirs() -> Any:
    import torch

    model, ids = model_and_input()
    x = model.embedding(ids).detach()

    def run() -> Any:
        with torch.inference_mode():
            return model.lstm(x)[0].numpy()

    return x.numpy(), run


def encoder_of_ours(x: Any) -> Any:
    layer = rnnfast.read_layer("diacritize/assets/bilstm_best.pt", batch_first=True)
    return lambda: layer(x)[0]


def test_the_whole_model(gallery: Any) -> None:
    gallery.check(PACKAGE, theirs, ours, network="the whole model, 65 characters", engine="PyTorch")


def test_the_lstm(gallery: Any) -> None:
    gallery.check(
        PACKAGE,
        encoder_of_theirs,
        encoder_of_ours,
        network="3 LSTM layers of 256 units in both directions, 65 characters",
        engine="PyTorch",
    )
