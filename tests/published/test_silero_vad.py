"""silero-vad: whether somebody speaks, by convolutions and an LSTM in onnxruntime and PyTorch."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from packages import Package
from sounds import ESPEAK, speech

import rnnfast
import rnnfast.onnx

PACKAGE = Package("silero-vad", "6.2.3", "MIT", needs=("packaging==25.0", ESPEAK))
FILES = {
    "silero_vad": "any rate",
    "silero_vad_16k_op15": "operators of ONNX 15",
    "silero_vad_op18_ifless": "without branches",
}
SECONDS = 2


def running(model: Any) -> Any:
    import torch

    sound = torch.from_numpy(speech(16000, SECONDS))
    return lambda: model.audio_forward(sound, 16000).numpy()


def wrapper(path: str) -> Any:
    from silero_vad.utils_vad import OnnxWrapper

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that a model is for one rate
        return OnnxWrapper(path, force_onnx_cpu=True)


def theirs(path: str) -> Any:
    return path, running(wrapper(path))


def ours(path: str) -> Any:
    model = wrapper(path)
    model.session = rnnfast.onnx.Session(path)
    return running(model)


def sequence_of_theirs() -> Any:
    from silero_vad import load_silero_vad

    model, sound = load_silero_vad(sequence=True), speech(16000, 10)
    return sound, lambda: model.audio_forward(sound)


def sequence_of_ours(sound: Any) -> Any:
    from silero_vad import load_silero_vad

    model = load_silero_vad(sequence=True)
    model.session = rnnfast.onnx.Session("silero_vad/data/silero_vad_16k_sequence.onnx")
    return lambda: model.audio_forward(sound)


@pytest.mark.parametrize("name", FILES)
def test_frame_by_frame(gallery: Any, name: str) -> None:
    gallery.check(
        PACKAGE,
        theirs,
        ours,
        argument=f"silero_vad/data/{name}.onnx",
        network=f"{name}.onnx ({FILES[name]}), {SECONDS} s frame by frame",
        engine="onnxruntime",
    )


def test_a_sequence(gallery: Any) -> None:
    gallery.check(
        PACKAGE,
        sequence_of_theirs,
        sequence_of_ours,
        network="silero_vad_16k_sequence.onnx, 10 s at once",
        engine="onnxruntime",
        tolerance=1e-4,  # 312 steps, and onnxruntime's tanh has errors of some 1e-7 in each
    )
