"""Recurrent networks as functions of JAX, on the engine.

`Network` has the parameters of a network of any cell as a dictionary, with PyTorch's names, and
applies them; `lstm`, `gru` and `rnn` are functions of such dictionaries. They work under `jax.jit`,
`jax.grad`, `jax.jvp`, `jax.vmap`, `jax.checkpoint` and their combinations, in float32 and float64.
"""

try:
    import jax.ffi as _ffi  # noqa: F401  # the check is the purpose
except ImportError as error:
    raise ImportError(
        f"rnnfast.jax needs JAX 0.5 or newer (`pip install jax`), which cannot be imported: {error}"
    ) from error
from rnnfast.jax.functions import gru, lstm, recurrent, rnn
from rnnfast.jax.network import Network

__all__ = ["Network", "gru", "lstm", "recurrent", "rnn"]
