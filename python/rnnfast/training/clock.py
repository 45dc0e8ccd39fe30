"""Progress of a run towards its limits, in steps and in time."""

from __future__ import annotations

import time


class Clock:
    """Measures a run against its limits.

    Attributes:
        before: Seconds that earlier parts of the run took.
    """

    def __init__(self, last_step: int, minutes: float) -> None:
        """Set the step and the time at which the run ends; 0 means no limit."""
        self._last_step, self._limit = last_step, 60 * minutes
        self.before = 0.0
        self._started: float | None = None

    @property
    def running(self) -> bool:
        """Whether the run is in progress."""
        return self._started is not None

    @property
    def seconds(self) -> float:
        """Seconds that the run has taken, summed over all of its parts."""
        now = time.monotonic()
        return self.before + (now - self._started if self._started is not None else 0.0)

    def start(self) -> None:
        """Start a part of the run."""
        self._started = time.monotonic()

    def stop(self) -> None:
        """End the current part of the run."""
        self.before, self._started = self.seconds, None

    def done(self, step: int) -> float:
        """Return the fraction of the run that `step` steps complete; 0 without a limit."""
        done = step / self._last_step if self._last_step else 0.0
        if self._limit:
            done = max(done, self.seconds / self._limit)
        return min(1.0, done)

    def seconds_left(self, step: int) -> float | None:
        """Estimate the seconds until the run ends; None if that cannot be estimated yet."""
        limits = [self._limit - self.seconds] if self._limit else []
        if self._last_step and step:
            limits.append((self._last_step - step) * self.seconds / step)
        return max(0.0, min(limits)) if limits else None
