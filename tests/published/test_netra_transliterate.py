"""netra-transliterate: English words in Khmer script, by GRUs of Keras 3 with attention."""

from __future__ import annotations

import os
from typing import Any

import keras_layers
from comparison import leave_out
from packages import Package

import rnnfast

PACKAGE = Package("netra-transliterate", "1.0.1", "MIT", shared=keras_layers.TENSORFLOW)
WORD = "sihanoukville"


def theirs() -> Any:
    os.environ.update(TF_USE_LEGACY_KERAS="0", KERAS_BACKEND="tensorflow")
    leave_out("khmerspell")
    keras_layers.one_thread()
    import keras
    import tensorflow as tf
    from khmer_transliterator import Transliterator

    words = Transliterator()
    assert words.transliterate(WORD)
    embedding, gru = words._encoder.layers[1:3]
    ids = words._eng_tokenizer.texts_to_sequences([WORD])
    padded = keras.utils.pad_sequences(ids, maxlen=words._max_eng_len, padding="post")
    x = embedding(padded)
    graph = tf.function(gru)
    return x.numpy(), lambda: graph(x).numpy()


def ours(x: Any) -> Any:
    os.chdir("khmer_transliterator/weights")
    layer = rnnfast.read_layer(
        "bi_gru_attention_khmer_transliterator.keras", prefix="bidirectional_3"
    )
    return lambda: layer(x.swapaxes(0, 1))[0].swapaxes(0, 1)


def test_the_encoder(gallery: Any) -> None:
    gallery.check(PACKAGE, theirs, ours, network="GRU in both directions, a word", engine="Keras 3")
