"""Resemblyzer: the voice of a speaker as a vector, by an LSTM in PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
from comparison import leave_out
from packages import Package
from sounds import ESPEAK, speech

import rnnfast

PACKAGE = Package("Resemblyzer", "0.1.4", "Apache-2.0", needs=(ESPEAK,))


def theirs() -> Any:
    leave_out("librosa", "webrtcvad", "scipy.ndimage.morphology")
    import torch
    from resemblyzer import VoiceEncoder

    encoder = VoiceEncoder("cpu", verbose=False)
    x = mel(speech(16000, 1.6))
    given = torch.from_numpy(x[None])

    def run() -> Any:
        with torch.inference_mode():
            return encoder(given).numpy()

    return (x, encoder.linear), run


def ours(given: Any) -> Any:
    x, linear = given
    layer = rnnfast.read_layer("resemblyzer/pretrained.pt")
    weight, bias = (p.detach().numpy() for p in linear.parameters())

    def run() -> Any:
        y, _ = layer(x[:, None])
        raw = np.maximum(y[-1] @ weight.T + bias, 0)
        return raw / np.linalg.norm(raw, axis=1, keepdims=True)

    return run


def mel(sound: Any) -> Any:
    """Return what the package takes: the power in 40 bands of frames of 25 ms, every 10 ms."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(sound, 200), 400)[::160][:160]
    power = np.abs(np.fft.rfft(frames * np.hanning(400))) ** 2
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 42) / 2595) - 1)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    f = np.fft.rfftfreq(400, 1 / 16000)
    bands = np.minimum((f - low) / (middle - low), (high - f) / (high - middle)).clip(0)
    return (power @ (bands * 2 / (high - low)).T).astype(np.float32)


def test_the_encoder(gallery: Any) -> None:
    gallery.check(
        PACKAGE,
        theirs,
        ours,
        network="encoder of a voice: 3 LSTM layers of 256 units, 1.6 s",
        engine="PyTorch",
    )
