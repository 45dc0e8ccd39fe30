"""Optimisers, gradient clipping and learning-rate schedules."""

from rnnfast.optim.clipping import clip_grad_norm_, clip_grad_value_
from rnnfast.optim.ema import EMA
from rnnfast.optim.groups import ParameterGroup
from rnnfast.optim.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from rnnfast.optim.schedules import (
    CosineDecay,
    ExponentialDecay,
    LinearDecay,
    ReduceOnPlateau,
    Schedule,
    StepDecay,
)
from rnnfast.optim.warm_schedules import CosineWarmRestarts, LinearWarmup, OneCycle, ScheduleChain

__all__ = [
    "EMA",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "CosineDecay",
    "CosineWarmRestarts",
    "ExponentialDecay",
    "LinearDecay",
    "LinearWarmup",
    "OneCycle",
    "Optimizer",
    "ParameterGroup",
    "RMSprop",
    "ReduceOnPlateau",
    "Schedule",
    "ScheduleChain",
    "StepDecay",
    "clip_grad_norm_",
    "clip_grad_value_",
]
