"""Two layouts of rotary query and key projections: pairs of channels side by side, or a half head apart.

Meta, llama2.c and llama.cpp's `llama` turn channels (2i, 2i+1) of a head together; Hugging Face, and so our families,
(i, i + K/2). Moving rows takes one to the other, and no number changes. H heads, K head width, D model width.
"""

import numpy as np


def to_half(weight: np.ndarray, heads: int) -> np.ndarray:
    """(H·K, ...) with pairs side by side -> the same rows with each pair's second a half head behind its first."""
    parts = weight.reshape(heads, -1, 2, *weight.shape[1:])
    return parts.swapaxes(1, 2).reshape(weight.shape)


def to_interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """The inverse of `to_half`."""
    parts = weight.reshape(heads, 2, -1, *weight.shape[1:])
    return parts.swapaxes(1, 2).reshape(weight.shape)
