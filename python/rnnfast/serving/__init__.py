"""Serving of many sequences at once, each of which arrives step by step."""

from rnnfast.serving.pool import PoolStats, Session, StreamPool

__all__ = ["PoolStats", "Session", "StreamPool"]
