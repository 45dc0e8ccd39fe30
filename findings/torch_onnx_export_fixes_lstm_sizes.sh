#!/usr/bin/env bash
# torch: torch.onnx.export(..., dynamo=True) of an LSTM with dynamic_shapes for time and batch writes a
# graph whose inputs have the symbolic sizes, but which runs for the sizes of the sample alone: the
# number of steps of the sample is a constant of a Reshape. There is no error and no warning on export.
# The older exporter (dynamo=False, dynamic_axes) writes a graph for all sizes.
# Seen with torch 2.13.0, onnx 1.23.2, onnxscript 0.7.2 and onnxruntime 1.32.0: 7 steps run, 9 fail.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 onnx==1.23.2 onnxscript==0.7.2 \
  onnxruntime==1.32.0 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - "$folder" <<'PYTHON'
import logging
import sys

import onnxruntime
import torch

logging.disable(logging.WARNING)
path = f"{sys.argv[1]}/model.onnx"


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = torch.nn.LSTM(5, 6, bidirectional=True)

    def forward(self, x):
        return self.lstm(x)[0]


model = Model().eval()
sample = torch.randn(7, 3, 5)


def runs(steps, batch):
    """Return whether onnxruntime runs the file on an input of this size as PyTorch does."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    x = torch.randn(steps, batch, 5)
    try:
        (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    except Exception as error:
        print((steps, batch), "fails:", str(error).splitlines()[0][:100])
        return False
    same = torch.allclose(torch.from_numpy(y), model(x), atol=1e-5)
    print((steps, batch), "same as PyTorch:", same)
    return same


sizes = {0: torch.export.Dim("T", min=1, max=99), 1: torch.export.Dim("B", min=1, max=99)}
torch.onnx.export(model, (sample,), path, dynamo=True, dynamic_shapes=(sizes,), verbose=False)
session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
print("declared shape:", session.get_inputs()[0].shape)
assert session.get_inputs()[0].shape == ["T", "B", 5]
assert runs(7, 3)
assert not runs(9, 3)
torch.onnx.export(
    model, (sample,), path, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "T", 1: "B"}}
)
assert runs(7, 3)
assert runs(9, 4)
PYTHON
