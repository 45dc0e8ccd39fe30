"""Drop-in replacements for PyTorch's recurrent layers on the CPU.

`LSTM`, `GRU` and `RNN` replace the layers of `torch.nn`, with the same arguments, parameters and
results. `Recurrent` runs every other cell of rnnfast in the same way. `LSTMCell`, `GRUCell`,
`RNNCell` and `RecurrentCell` do the same for single steps, as in the loop of a decoder.
`accelerate` swaps these modules into an existing model, `report` lists them, and `restore` swaps
them out again; `prepack` speeds up inference on short sequences, and `quantize` lets layers
evaluate by products of 8-bit integers.
"""

try:
    import torch as _torch  # noqa: F401  # the check is the purpose
except ImportError as error:
    raise ImportError(
        f"rnnfast.torch needs PyTorch (`pip install torch`), which cannot be imported: {error}"
    ) from error
from rnnfast.torch.cells import GRUCell, LSTMCell, RecurrentCell, RNNCell
from rnnfast.torch.layers import GRU, LSTM, RNN, Recurrent
from rnnfast.torch.swap import Report, accelerate, prepack, quantize, report, restore

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "GRUCell",
    "LSTMCell",
    "RNNCell",
    "Recurrent",
    "RecurrentCell",
    "Report",
    "accelerate",
    "prepack",
    "quantize",
    "report",
    "restore",
]
