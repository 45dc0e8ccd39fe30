"""Signals that end a training run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

# Sent by Ctrl-C, by `kill` and service managers, and when a terminal is closed.
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def ending(end: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Call `end` on the first INT, TERM or HUP signal, instead of ending the process.

    A second Ctrl-C has its usual effect. Further TERM and HUP signals do nothing, because a closed
    terminal and some service managers send several. A signal that was ignored stays ignored, as
    `nohup` and background jobs of shells expect. Outside the main thread this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = {number: signal.getsignal(number) for number in _ENDING}
    # None stands for a handler that was not set from Python, which could not be restored.
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
