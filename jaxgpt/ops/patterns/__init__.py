"""The pattern seam: who may attend to whom. How it is computed is the kernel's business."""

from jaxgpt.ops.patterns.call import Call, Composed, Keep, Mask, Tokens
from jaxgpt.ops.patterns.combine import Combined, Intersection, PerHead, Union, is_relative
from jaxgpt.ops.patterns.dense import Bidirectional, Causal, Prefix
from jaxgpt.ops.patterns.first import First, with_first
from jaxgpt.ops.patterns.layout import arrangements, band, calls, kept_blocks, mean_keys, reach, sees_ahead, strips
from jaxgpt.ops.patterns.local import Banded, Dilated, GlobalWindow, Sinks
from jaxgpt.ops.patterns.pattern import Arranged, Arrangement, Extent, Pattern, Relative, beyond
from jaxgpt.ops.patterns.sparse_transformer import Fixed, Strided

__all__ = [
    "Arranged",
    "Arrangement",
    "Banded",
    "Bidirectional",
    "Call",
    "Causal",
    "Combined",
    "Composed",
    "Dilated",
    "Extent",
    "First",
    "Fixed",
    "GlobalWindow",
    "Intersection",
    "Keep",
    "Mask",
    "Pattern",
    "PerHead",
    "Prefix",
    "Relative",
    "Sinks",
    "Strided",
    "Tokens",
    "Union",
    "arrangements",
    "band",
    "beyond",
    "calls",
    "is_relative",
    "kept_blocks",
    "mean_keys",
    "reach",
    "sees_ahead",
    "strips",
    "with_first",
]
