"""Whether weights are numbers: one NaN among them makes every token the same, without a word."""

import ml_dtypes
import numpy as np

PIECE = 1 << 20
"""Entries that are looked at together, so that the check takes no memory to speak of."""
EXPONENTS = {np.dtype(np.float16): 0x7C00, np.dtype(ml_dtypes.bfloat16): 0x7F80}
"""Bits that are all set in NaN and infinity alone; numpy takes eight times as long over these types' own numbers."""


def is_finite(array: np.ndarray) -> bool:
    """Whether no entry of a float array, bfloat16 included, is NaN or infinite."""
    flat = array.reshape(-1)  # a view, but of what lies in another order
    bits = EXPONENTS.get(flat.dtype)
    flat = flat if bits is None else flat.view(np.uint16)
    for start in range(0, len(flat), PIECE):
        piece = flat[start : start + PIECE]
        if not (np.isfinite(piece).all() if bits is None else ((piece & bits) != bits).all()):
            return False
    return True


def fault(name: str, stored: np.ndarray, dtype: str) -> str:
    """The line about a tensor that is not finite in `dtype`: by what is stored, or by what it became."""
    if is_finite(stored):
        return f"{name}: holds numbers beyond {dtype}; load it in float32 or bfloat16"
    return f"{name}: holds NaN or infinity; the weights are damaged or their training diverged, use others"
