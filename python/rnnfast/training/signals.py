"""Signals that end a training run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

# Ctrl-C, what `kill` and service managers send, and a terminal that is closed.
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def ending(end: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Calls `end` at the first of INT, TERM and HUP, which then do not end the process.

    A second Ctrl-C does what it always does; further TERMs and HUPs do nothing, as a terminal that
    is closed, and some service managers, send several. A signal that is ignored stays ignored, as
    `nohup` and shells' background jobs have it. Outside the main thread nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = {number: signal.getsignal(number) for number in _ENDING}
    # None is a handler that was not set from Python, and which could not be put back.
    usual = {n: handler for n, handler in usual.items() if handler not in (signal.SIG_IGN, None)}
    first = True

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal first
        del frame
        if first:
            first = False
            end(signal.Signals(number))
            if signal.SIGINT in usual:
                signal.signal(signal.SIGINT, usual[signal.SIGINT])

    for number in usual:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
