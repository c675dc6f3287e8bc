"""Attention kernels: how a pattern is computed. Any pattern runs on `reference`."""

from jaxgpt.ops.attention.auto import Auto
from jaxgpt.ops.attention.block_sparse import BlockSparse
from jaxgpt.ops.attention.chunked import Chunked
from jaxgpt.ops.attention.cudnn import Cudnn
from jaxgpt.ops.attention.gathered import Gathered
from jaxgpt.ops.attention.kernel import Bias, Case, Chooser, Kernel, Places, Scores
from jaxgpt.ops.attention.reference import Reference
from jaxgpt.ops.attention.ring import Ring
from jaxgpt.ops.attention.splash import Splash

__all__ = [
    "Auto",
    "Bias",
    "BlockSparse",
    "Case",
    "Chooser",
    "Chunked",
    "Cudnn",
    "Gathered",
    "Kernel",
    "Places",
    "Reference",
    "Ring",
    "Scores",
    "Splash",
]
