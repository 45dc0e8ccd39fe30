"""Optimisers, gradient clipping and learning-rate schedules."""

from rnnfast.optim.clipping import clip_grad_norm_, clip_grad_value_
from rnnfast.optim.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from rnnfast.optim.schedules import (
    CosineDecay,
    ExponentialDecay,
    LinearDecay,
    ReduceOnPlateau,
    Schedule,
    StepDecay,
)

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "CosineDecay",
    "ExponentialDecay",
    "LinearDecay",
    "Optimizer",
    "RMSprop",
    "ReduceOnPlateau",
    "Schedule",
    "StepDecay",
    "clip_grad_norm_",
    "clip_grad_value_",
]
