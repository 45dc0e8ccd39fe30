"""Keras's recurrent layers on the engine, for the JAX and PyTorch backends of Keras 3.

`LSTM`, `GRU` and `SimpleRNN` are Keras's own layers, with their arguments, weights and saved files;
only the loop over the steps is a call of the engine. `accelerate` changes the layers of a model in
place.
"""

try:
    import keras as _keras
    from keras.layers import LSTM as _LSTM  # noqa: F401  # Keras 2 fails where it is used
except ImportError as error:
    raise ImportError(
        "rnnfast.keras needs Keras 3 (`pip install keras`) and the package of its backend, JAX or "
        f"PyTorch, which cannot be imported: {error}"
    ) from error
if _keras.__version__.startswith(("1.", "2.")):
    raise ImportError(f"rnnfast.keras needs Keras 3, got Keras {_keras.__version__}")
from rnnfast.keras.layers import GRU, LSTM, SimpleRNN
from rnnfast.keras.swap import accelerate, report

__all__ = ["GRU", "LSTM", "SimpleRNN", "accelerate", "report"]
