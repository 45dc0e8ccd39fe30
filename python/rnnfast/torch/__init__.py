"""Drop-in replacements for PyTorch's recurrent layers on the CPU.

`LSTM`, `GRU` and `RNN` take the place of `torch.nn`'s: same arguments, parameters and results.
`Recurrent` has every cell of rnnfast in the same manner. `accelerate` puts them into a model that
is already there, `report` says where they are, and `restore` takes them out again; `prepack` is for
inference on short sequences.
"""

try:
    import torch as _torch  # noqa: F401  # the check is the purpose
except ImportError as error:
    raise ImportError(
        f"rnnfast.torch: expected PyTorch to be installed, as by `pip install torch`, got: {error}"
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
