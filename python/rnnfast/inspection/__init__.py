"""Looking inside: states and gates over time, and what the units of a recurrent network tell."""

from rnnfast.inspection.annotations import annotate, guess_language
from rnnfast.inspection.finder import inspect
from rnnfast.inspection.result import Concept, Inspection, Probe
from rnnfast.inspection.states import LayerStates, States
from rnnfast.inspection.tracing import trace

__all__ = [
    "Concept",
    "Inspection",
    "LayerStates",
    "Probe",
    "States",
    "annotate",
    "guess_language",
    "inspect",
    "trace",
]
