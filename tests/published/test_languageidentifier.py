"""LanguageIdentifier: the language of a sentence, by a bidirectional LSTM in PyTorch."""

from __future__ import annotations

from typing import Any

from packages import Package
from torch_layers import recorded

import rnnfast

PACKAGE = Package("LanguageIdentifier", "1.1.1", "MIT", needs=("tqdm==4.67.1",))
SENTENCE = "Die Donau entspringt im Schwarzwald und mündet nach 2857 Kilometern ins Schwarze Meer."


def theirs() -> Any:
    from LanguageIdentifier.LanguageIdentifier import lid

    lid.model.eval()
    return recorded(lid.model.lstm, lambda: lid.predict(SENTENCE))


def ours(x: Any) -> Any:
    layer = rnnfast.read_layer("LanguageIdentifier/LID_mixed_model.pkl")
    return lambda: layer(x.swapaxes(0, 1))[0].swapaxes(0, 1)


def test_two_bidirectional_layers(gallery: Any) -> None:
    gallery.check(
        PACKAGE, theirs, ours, network="LSTM in both directions, 86 characters", engine="PyTorch"
    )
