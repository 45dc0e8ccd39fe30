"""Sentences that describe pictures."""
