"""Speech for packages that listen, by the synthesiser eSpeak NG."""

from __future__ import annotations

import ctypes
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
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    folder = str(espeakng_loader.get_data_path()).encode()
    own_rate = library.espeak_Initialize(_RETRIEVAL, 0, folder, 0)
    assert own_rate > 0, "eSpeak NG does not start"
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
    own = np.concatenate(pieces) / np.float32(2**15)
    times = np.arange(int(rate * seconds)) / rate
    return np.interp(times, np.arange(own.size) / own_rate, own).astype(np.float32)
