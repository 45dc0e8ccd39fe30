"""A file with the hard sigmoid, and weights of CuDNN as the loader of Keras 2 converts them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from golden_makers.common import B, H, I, T, case, numbers, packed


def cases() -> list[dict[str, Any]]:
    import tf_keras
    from tf_keras.src.saving.legacy.hdf5_format import preprocess_weights_for_loading

    version, x, result = f"tf_keras {tf_keras.__version__}", numbers(T, B, I, seed=0), []
    batch_first = x.swapaxes(0, 1)

    def output(layer: Any, weights: list[Any]) -> Any:
        model = tf_keras.Sequential([layer])
        model.build((None, T, I))
        layer.set_weights(weights)
        return model, np.swapaxes(model(batch_first).numpy(), 0, 1)

    layer = tf_keras.layers.LSTM(H, recurrent_activation="hard_sigmoid", return_sequences=True)
    given = [numbers(I, 4 * H, seed=1), numbers(H, 4 * H, seed=2), numbers(4 * H, seed=3)]
    model, y = output(layer, given)
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/model.h5")
        content = packed(Path(f"{folder}/model.h5").read_bytes())
    result.append(case(version, "keras", "LSTM", {}, y, gate_activation="hard_sigmoid_keras2")
                  | {"packed": content})  # fmt: skip
    for kind, G in (("LSTM", 4), ("GRU", 3)):
        layer = getattr(tf_keras.layers, kind)(H, return_sequences=True)
        given = [numbers(I, G * H, seed=1), numbers(H, G * H, seed=2), numbers(2 * G * H, seed=3)]
        layer.build((None, T, I))
        converted = preprocess_weights_for_loading(layer, [w.copy() for w in given])
        _, y = output(layer, converted)
        weights = dict(zip(("kernel", "recurrent_kernel", "bias"), given, strict=True))
        result.append(case(version, "keras", f"CuDNN{kind} (Keras 2)", weights, y))
    return result
