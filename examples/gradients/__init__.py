"""Vanishing and exploding gradients, and what helps, in numbers and figures: see docs/gradients.md.

python -m examples.gradients [--quick] [--seed N] [--output DIR]
"""
