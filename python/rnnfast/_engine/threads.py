"""The number of threads that a call uses."""

from __future__ import annotations

from rnnfast import _core
from rnnfast._engine import checks


def get_num_threads() -> int:
    """Return the most threads that a call uses."""
    return _core.get_num_threads()


def set_num_threads(n: int) -> None:
    """Set the most threads that a call uses.

    A call never uses more threads than the process may use CPUs (by its affinity and the quota of
    its control groups), or 8 if there are fewer CPUs.

    Args:
        n: 1 to 1024.

    Raises:
        ValueError: n is out of range.
        TypeError: n is not an integer.
    """
    _core.set_num_threads(checks.threads("n", n))
