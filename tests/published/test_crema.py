"""crema: the chords of music, by convolutions and bidirectional GRUs of Keras."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import keras_layers
import numpy as np
from comparison import leave_out
from packages import Package

import rnnfast

PACKAGE = Package("crema", "0.2.0", "ISC", shared=keras_layers.TENSORFLOW)
RATE = 44100
HOP = 4096
NOTES = (261.63, 329.63, 392.0)  # C, E and G


def theirs() -> Any:
    keras = keras_layers.keras2(before_2_3=True)
    leave_out("librosa", "pkg_resources", "mir_eval", "scipy", "scipy.stats")  # around the network
    from crema.layers import SqueezeLayer

    folder = Path("crema/models/chord")
    spec = pickle.loads((folder / "model_spec.pkl").read_bytes())
    model = keras.models.model_from_config(spec, {"SqueezeLayer": SqueezeLayer})
    model.load_weights(folder / "model.h5")
    spectrum = constant_q(chord(4))[None]
    roots = model.predict(spectrum, verbose=0)[model.output_names.index("chord_root")]
    assert (roots.argmax(axis=2) == 0).mean() > 0.8, "the root of the chord is C"
    return keras_layers.recorded(model, ["bidirectional_1", "bidirectional_2"], spectrum)


def chord(seconds: float) -> Any:
    """Return the sound of a chord: four harmonics of each note."""
    t = np.arange(int(RATE * seconds)) / RATE
    return sum(np.sin(2 * np.pi * k * note * t) / k**2 for note in NOTES for k in range(1, 5))


def constant_q(sound: Any) -> Any:
    """Return what the network hears: decibels in 216 bins from C1 on, and an octave higher."""
    q = 1 / (2 ** (1 / 36) - 1)  # 36 bins in an octave
    frames = np.arange(0, sound.size, HOP)
    result = np.empty((frames.size, 216, 2), np.float32)
    padded = np.pad(sound, RATE)
    for harmonic in (1, 2):
        for k in range(216):
            frequency = 32.703 * harmonic * 2 ** (k / 36)
            size = int(q * RATE / frequency)
            n = np.arange(size)
            wave = np.hanning(size) * np.exp(-2j * np.pi * frequency / RATE * n) / size
            starts = frames + RATE - size // 2
            windows = np.lib.stride_tricks.sliding_window_view(padded, size)[starts]
            result[:, k, harmonic - 1] = np.abs(windows @ wave)
    return np.maximum(20 * np.log10(np.maximum(result, 1e-10) / result.max()), -80)


def ours(given: Any) -> Any:
    first = rnnfast.read_layer("crema/models/chord/model.h5", prefix="bidirectional_1")
    second = rnnfast.read_layer("crema/models/chord/model.h5", prefix="bidirectional_2")
    x, y = (one.swapaxes(0, 1) for one in given)
    return lambda: (first(x)[0].swapaxes(0, 1), second(y)[0].swapaxes(0, 1))


def test_two_layers(gallery: Any) -> None:
    gallery.check(
        PACKAGE, theirs, ours, network="2 GRUs in both directions, 4 s of sound", engine="Keras 2"
    )
