"""The pattern seam: who may attend to whom. How it is computed is the kernel's business."""

from jaxgpt.ops.patterns.combine import Combined, Intersection, PerHead, Union, is_relative
from jaxgpt.ops.patterns.dense import Bidirectional, Causal, Prefix
from jaxgpt.ops.patterns.layout import arrangements, band, kept_blocks, mean_keys, reach, sees_ahead, strips
from jaxgpt.ops.patterns.local import Banded, Dilated, GlobalWindow, Sinks
from jaxgpt.ops.patterns.pattern import Arranged, Arrangement, Extent, Pattern, Relative, beyond
from jaxgpt.ops.patterns.sparse_transformer import Fixed, Strided

__all__ = [
    "Arranged",
    "Arrangement",
    "Banded",
    "Bidirectional",
    "Causal",
    "Combined",
    "Dilated",
    "Extent",
    "Fixed",
    "GlobalWindow",
    "Intersection",
    "Pattern",
    "PerHead",
    "Prefix",
    "Relative",
    "Sinks",
    "Strided",
    "Union",
    "arrangements",
    "band",
    "beyond",
    "is_relative",
    "kept_blocks",
    "mean_keys",
    "reach",
    "sees_ahead",
    "strips",
]
