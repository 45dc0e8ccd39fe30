"""Looking inside: states and gates over time, what units tell, and how gradients flow."""

from rnnfast.inspection.annotations import annotate, guess_language
from rnnfast.inspection.finder import inspect
from rnnfast.inspection.flow import GradientFlow, gradient_flow
from rnnfast.inspection.layer_flow import LayerFlow
from rnnfast.inspection.result import Concept, Inspection, Probe
from rnnfast.inspection.saturation import Saturation
from rnnfast.inspection.states import LayerStates, States
from rnnfast.inspection.tracing import trace

__all__ = [
    "Concept",
    "GradientFlow",
    "Inspection",
    "LayerFlow",
    "LayerStates",
    "Probe",
    "Saturation",
    "States",
    "annotate",
    "gradient_flow",
    "guess_language",
    "inspect",
    "trace",
]
