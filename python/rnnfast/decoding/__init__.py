"""Decoding of models that predict the next token: sampling, beam search and scheduled sampling."""

from rnnfast.decoding.beams import Hypothesis, beam_search
from rnnfast.decoding.rows import Axes, Step
from rnnfast.decoding.sampling import generate, sample
from rnnfast.decoding.scheduled import (
    exponential_probability,
    inverse_sigmoid_probability,
    linear_probability,
    scheduled_sampling,
)

__all__ = [
    "Axes",
    "Hypothesis",
    "Step",
    "beam_search",
    "exponential_probability",
    "generate",
    "inverse_sigmoid_probability",
    "linear_probability",
    "sample",
    "scheduled_sampling",
]
