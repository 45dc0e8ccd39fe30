"""legere: printed lines of text, by convolutions and a bidirectional GRU in PyTorch."""

from __future__ import annotations

from typing import Any

from packages import Package
from torch_layers import recorded

import rnnfast

PACKAGE = Package("legere", "0.11.0", "MIT", needs=("opencv-python-headless==4.12.0.88",))
LINE = "O rio Tejo nasce na Serra de Albarracim"


def theirs() -> Any:
    import cv2
    import numpy as np
    import torch
    from legere.inference import load_model
    from legere.lines import images_to_tensor, normalize_line

    page = np.full((48, 900), 255, np.uint8)
    cv2.putText(page, LINE, (8, 34), cv2.FONT_HERSHEY_SIMPLEX, 1.1, 0, 2, cv2.LINE_AA)
    model = load_model()
    with torch.inference_mode():
        return recorded(model.rnn, lambda: model(images_to_tensor([normalize_line(page)])))


def ours(x: Any) -> Any:
    layer = rnnfast.read_layer("legere/data/model.pt")
    return lambda: layer(x.swapaxes(0, 1))[0].swapaxes(0, 1)


def test_a_line_of_text(gallery: Any) -> None:
    gallery.check(
        PACKAGE, theirs, ours, network="GRU in both directions, a line of text", engine="PyTorch"
    )
