"""Conclusions from completed tables: what is estimated on each, pooled to one answer."""

from codenoise.analysis.pooling import Pooled, pool

__all__ = ["Pooled", "pool"]
