"""pyrnnoise: speech without noise, by three GRU layers in the C code of RNNoise."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from packages import Package
from sounds import ESPEAK, speech

import rnnfast
from rnnfast.exchange import from_rnnoise

PACKAGE = Package("pyrnnoise", "0.4.5", "Apache-2.0; RNNoise BSD-3-Clause", needs=(ESPEAK,))
LAYERS = ("gru1", "gru2", "gru3")
FRAME, FEATURES, BANDS, UNITS, TANH = 480, 65, 32, 384, 2
TYPES = {0: np.float32, 1: np.int32, 3: np.int8}


class NamedArray(ctypes.Structure):
    """An array of the list `rnnoise_arrays`, which a name of NULL ends."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("type", ctypes.c_int),
        ("size", ctypes.c_int),
        ("data", ctypes.c_void_p),
    )


class Linear(ctypes.Structure):
    """A product with a matrix: pointers to its arrays, and its sizes."""

    _fields_ = (
        *((f"array{k}", ctypes.c_void_p) for k in range(7)),
        ("inputs", ctypes.c_int),
        ("outputs", ctypes.c_int),
    )


def library() -> Any:
    return ctypes.CDLL("pyrnnoise/librnnoise.so")


def address(array: Any) -> Any:
    return array.ctypes.data_as(ctypes.c_void_p)


def inputs_of_the_first_layer(rnnoise: Any, products: Any) -> Any:
    """Return what RNNoise computes from two seconds of speech by its two convolutions."""
    rnnoise.rnnoise_create.restype = ctypes.c_void_p
    state = ctypes.c_void_p(rnnoise.rnnoise_create(None))
    spectra, bands = np.zeros((2, 2 * FRAME + 2), np.float32), np.zeros((3, BANDS), np.float32)
    features, middle = np.zeros(FEATURES, np.float32), np.zeros(128, np.float32)
    memories = np.zeros(2 * FEATURES, np.float32), np.zeros(2 * 128, np.float32)
    rows = []
    for frame in (32768 * speech(48000, 2)).reshape(-1, FRAME):
        buffers = (*spectra, *bands, features, frame)
        rnnoise.rnn_compute_frame_features(state, *map(address, buffers))
        rows.append(np.zeros(UNITS, np.float32))
        for k, (given, result) in enumerate(((features, middle), (middle, rows[-1]))):
            arrays = map(address, (result, memories[k], given))
            rnnoise.rnn_compute_generic_conv1d(
                ctypes.byref(products[k]), *arrays, len(given), TANH, 0
            )
    return np.stack(rows)


def theirs() -> Any:
    rnnoise = library()
    products = (Linear * 10)()  # two convolutions, two products for each GRU, two outputs
    arrays = (NamedArray * 1).in_dll(rnnoise, "rnnoise_arrays")
    assert rnnoise.init_rnnoise(ctypes.byref(products), arrays) == 0
    x = inputs_of_the_first_layer(rnnoise, products)
    pairs = [[ctypes.byref(products[2 + 2 * k + j]) for j in (0, 1)] for k in range(3)]

    def run() -> Any:
        states, y = np.zeros((3, UNITS), np.float32), np.empty_like(x)
        places = [address(state) for state in states]
        for row, result in zip(x, y, strict=True):
            given = address(row)
            for pair, place in zip(pairs, places, strict=True):
                rnnoise.rnn_compute_generic_gru(*pair, place, given, 0)
                given = place
            result[:] = states[-1]
        return y

    return x, run


def ours(x: Any) -> Any:
    arrays = named_arrays()
    layer = rnnfast.read_layer(
        {name: from_rnnoise(arrays, name, UNITS) for name in LAYERS},
        "rnnoise",
        prefix=LAYERS,
        bidirectional=False,
    )
    return lambda: layer(x[:, None])[0][:, 0]


def named_arrays() -> dict[str, Any]:
    """Return the arrays of RNNoise by their names."""
    arrays = {}
    for one in (NamedArray * 100).in_dll(library(), "rnnoise_arrays"):
        if not one.name:
            return arrays
        data = (ctypes.c_char * one.size).from_address(one.data)
        arrays[one.name.decode()] = np.frombuffer(data, TYPES[one.type])
    raise AssertionError("the list of arrays does not end")


def test_the_gru_layers(gallery: Any) -> None:
    gallery.check(
        PACKAGE,
        theirs,
        ours,
        network="3 GRU layers of 384 units, 2 s",
        engine="C",
        tolerance=0.02,  # its tanh and sigmoid have errors of 3e-4, which 200 steps pass on
    )
