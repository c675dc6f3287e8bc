"""Attention kernels: how a pattern is computed. Any pattern runs on `reference`."""

from jaxgpt.ops.attention.auto import Auto
from jaxgpt.ops.attention.block_sparse.kernel import BlockSparse
from jaxgpt.ops.attention.case import Case, case_of_call
from jaxgpt.ops.attention.chunked import Chunked
from jaxgpt.ops.attention.cudnn import Cudnn
from jaxgpt.ops.attention.cudnn_parts.kernel import CudnnParts
from jaxgpt.ops.attention.gathered import Gathered
from jaxgpt.ops.attention.kernel import Chooser, Kernel
from jaxgpt.ops.attention.reference import Reference
from jaxgpt.ops.attention.ring.kernel import Ring
from jaxgpt.ops.attention.scores import SHARED, AttentionDropout, Numbering, Scores, Side
from jaxgpt.ops.attention.spans import Spans
from jaxgpt.ops.attention.splash import Splash

__all__ = [
    "SHARED",
    "AttentionDropout",
    "Auto",
    "BlockSparse",
    "Case",
    "Chooser",
    "Chunked",
    "Cudnn",
    "CudnnParts",
    "Gathered",
    "Kernel",
    "Numbering",
    "Reference",
    "Ring",
    "Scores",
    "Side",
    "Spans",
    "Splash",
    "case_of_call",
]
