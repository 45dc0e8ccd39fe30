"""Losses with their gradients."""

from rnnfast.losses.classification import bce_with_logits, nll
from rnnfast.losses.cross_entropy import cross_entropy, softmax_cross_entropy
from rnnfast.losses.ctc import ctc
from rnnfast.losses.regression import gaussian_nll, huber, l1, mse, quantile

__all__ = [
    "bce_with_logits",
    "cross_entropy",
    "ctc",
    "gaussian_nll",
    "huber",
    "l1",
    "mse",
    "nll",
    "quantile",
    "softmax_cross_entropy",
]
