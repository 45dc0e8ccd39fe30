"""Looking inside: what the units of a recurrent network tell."""

from rnnfast.inspection.annotations import annotate, guess_language
from rnnfast.inspection.finder import inspect
from rnnfast.inspection.result import Concept, Inspection, Probe

__all__ = ["Concept", "Inspection", "Probe", "annotate", "guess_language", "inspect"]
