"""Sounds for packages that listen: speech by the synthesiser eSpeak NG, and drums."""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

ESPEAK = "espeakng-loader==0.2.4"  # the library, its voices, and where they are
_RETRIEVAL = 1  # AUDIO_OUTPUT_RETRIEVAL: the samples go to a function
_UTF8 = 1
_TEXT = (
    "The north wind and the sun were disputing which was the stronger, when a traveller came along "
    "wrapped in a warm cloak. They agreed that the one who first succeeded in making the traveller "
    "take his cloak off should be considered stronger than the other."
)


def speech(rate: int, seconds: float) -> NDArray[np.float32]:
    """Return the beginning of a fable, between -1 and 1, with `rate` samples in a second."""
    own, own_rate = _spoken()
    times = np.arange(int(rate * seconds)) / rate
    return np.interp(times, np.arange(own.size) / own_rate, own).astype(np.float32)


@functools.cache  # the library gives other samples when it is started again
def _spoken() -> tuple[NDArray[np.float32], int]:
    """Return the whole fable, and the rate of its samples."""
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    folder = str(espeakng_loader.get_data_path()).encode()
    rate = library.espeak_Initialize(_RETRIEVAL, 0, folder, 0)
    assert rate > 0, "eSpeak NG does not start"
    pieces: list[NDArray[np.int16]] = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    def receive(samples: Any, count: int, _events: Any) -> int:
        if count:
            pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    library.espeak_SetSynthCallback(receive)
    text = _TEXT.encode() + b"\0"
    library.espeak_Synth(text, len(text), 0, 1, 0, _UTF8, None, None)
    library.espeak_Synchronize()
    library.espeak_Terminate()
    return np.concatenate(pieces) / np.float32(2**15), rate


def drums(rate: int, seconds: float) -> NDArray[np.float32]:
    """Return a bar of four at 120 beats a minute, again and again: a kick, a snare and a hi-hat."""
    rng = np.random.default_rng(0)
    t = np.arange(int(rate * seconds)) / rate
    since_beat, since_half, since_bar = t % 0.5, t % 0.25, (t - 0.5) % 1.0
    kick = np.sin(2 * np.pi * 55 * since_beat) * np.exp(-12 * since_beat)
    snare = rng.standard_normal(t.size) * np.exp(-20 * since_bar) * (t % 1.0 >= 0.5)
    hat = np.diff(rng.standard_normal(t.size + 1)) * np.exp(-60 * since_half)
    return (0.5 * kick + 0.2 * snare + 0.05 * hat).astype(np.float32)
