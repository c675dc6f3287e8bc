"""The position seam: how a model knows order."""

from jaxgpt.ops.positions.added import Learned, NoPosition, Sinusoidal
from jaxgpt.ops.positions.biased import ALiBi, RelativeBias, alibi_slopes
from jaxgpt.ops.positions.position import Added, Biased, Position, PositionEmbedding, Rotated
from jaxgpt.ops.positions.rotary import Rotary, RotaryLinear, RotaryLlama3, RotaryNTK, RotaryYaRN, Turning

__all__ = [
    "ALiBi",
    "Added",
    "Biased",
    "Learned",
    "NoPosition",
    "Position",
    "PositionEmbedding",
    "RelativeBias",
    "Rotary",
    "RotaryLinear",
    "RotaryLlama3",
    "RotaryNTK",
    "RotaryYaRN",
    "Rotated",
    "Sinusoidal",
    "Turning",
    "alibi_slopes",
]
