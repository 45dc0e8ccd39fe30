"""Speed of the recurrent layers on this machine, compared with its limits and other libraries.

`Run` measures `Case`s; the command `rnnfast bench` is a short form of it.
"""

from rnnfast.benchmark.case import MODES, Case, Shape, make_data
from rnnfast.benchmark.contestants import PEERS, contestant
from rnnfast.benchmark.machine import Peaks, facts, probe
from rnnfast.benchmark.peer import UnavailableError
from rnnfast.benchmark.runner import Result, Run, run_case
from rnnfast.benchmark.timing import Measurement, Timing, measure, timer

__all__ = [
    "MODES",
    "PEERS",
    "Case",
    "Measurement",
    "Peaks",
    "Result",
    "Run",
    "Shape",
    "Timing",
    "UnavailableError",
    "contestant",
    "facts",
    "make_data",
    "measure",
    "probe",
    "run_case",
    "timer",
]
