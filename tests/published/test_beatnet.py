"""BeatNet: beats in music, by convolutions and LSTM layers in PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
from comparison import leave_out
from madmom_package import NEEDS, imported
from packages import Package

import rnnfast

PACKAGE = Package(
    "BeatNet",
    "1.1.3",
    "CC BY 4.0",
    needs=(*NEEDS, "soundfile==0.14.0", "cffi==2.1.1"),  # soundfile reads the song in the package
)
WEIGHTS = "BeatNet/models/model_1_weights.pt"


def model_and_features() -> Any:
    """Return the first model, and the features of the song in the package, as BeatNet has them."""
    leave_out("librosa")
    imported()
    import soundfile
    import torch
    from BeatNet.log_spect import LOG_SPECT
    from BeatNet.model import BDA

    model = BDA(272, 150, 2, "cpu").eval()
    model.load_state_dict(torch.load(WEIGHTS), strict=False)
    song, rate = soundfile.read("BeatNet/test_data/808kick120bpm.mp3", dtype="float32")
    times = np.arange(0, len(song) / rate, 1 / 22050)
    song = np.interp(times, np.arange(len(song)) / rate, song.mean(axis=1)).astype(np.float32)
    features = LOG_SPECT(
        sample_rate=22050, win_length=1411, hop_size=441, n_bands=[24], mode="offline"
    )
    return model, torch.from_numpy(features.process_audio(song).T[None])


def running(model: Any, x: Any) -> Any:
    import torch

    zeros = torch.zeros(2, 1, 150)

    def run() -> Any:
        with torch.inference_mode():
            model.hidden, model.cell = zeros, zeros  # as in a new model
            return model(x).numpy()

    return run


def theirs() -> Any:
    return None, running(*model_and_features())


def ours(_: Any) -> Any:
    import rnnfast.torch

    model, x = model_and_features()
    rnnfast.torch.accelerate(model)
    return running(model, x)


def lstm_of_theirs() -> Any:
    import torch

    model, features = model_and_features()
    given: list[Any] = []
    model.lstm.register_forward_pre_hook(lambda _, arguments: given.append(arguments[0]))
    running(model, features)()
    x = given.pop()
    model.lstm._forward_pre_hooks.clear()

    def run() -> Any:
        with torch.inference_mode():
            return model.lstm(x)[0].numpy()

    return x.numpy(), run


def lstm_of_ours(x: Any) -> Any:
    layer = rnnfast.read_layer("BeatNet/models/model_1_weights.pt", batch_first=True)
    return lambda: layer(x)[0]


def test_the_whole_model(gallery: Any) -> None:
    gallery.check(PACKAGE, theirs, ours, network="the whole model, a song of 8 s", engine="PyTorch")


def test_the_lstm(gallery: Any) -> None:
    gallery.check(
        PACKAGE,
        lstm_of_theirs,
        lstm_of_ours,
        network="2 LSTM layers of 150 units, a song of 8 s",
        engine="PyTorch",
    )
