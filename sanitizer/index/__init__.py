"""Nearest neighbours: engines of several speeds propose, exact distances decide, one contract."""

from sanitizer.index.engines import Engine
from sanitizer.index.search import Exact, Group, nearest

__all__ = ["Engine", "Exact", "Group", "nearest"]
