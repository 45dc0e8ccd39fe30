"""Drop-in replacements for PyTorch's recurrent layers on the CPU.

`LSTM`, `GRU` and `RNN` replace the layers of `torch.nn`, with the same arguments, parameters and
results. `Recurrent` runs every other cell of rnnfast in the same way. `accelerate` swaps these
layers into an existing model, `report` lists them, and `restore` swaps them out again; `prepack`
speeds up inference on short sequences.
"""

try:
    import torch as _torch  # noqa: F401  # the check is the purpose
except ImportError as error:
    raise ImportError(
        f"rnnfast.torch needs PyTorch (`pip install torch`), which cannot be imported: {error}"
    ) from error
from rnnfast.torch.layers import GRU, LSTM, RNN, Recurrent
from rnnfast.torch.swap import Report, accelerate, prepack, report, restore

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Recurrent",
    "Report",
    "accelerate",
    "prepack",
    "report",
    "restore",
]
