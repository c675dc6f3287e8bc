"""Whether weights are numbers: one NaN among them makes every token the same, without a word."""

import ml_dtypes
import numpy as np

from jaxgpt.spec import JaxgptError

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
        return f"{name}: holds numbers beyond {dtype}; use float32 or bfloat16"
    return f"{name}: holds NaN or infinity; the weights are damaged or their training diverged, use others"


def cast(name: str, array: np.ndarray, dtype: str) -> np.ndarray:
    """The array in `dtype`, itself where it is so already. Raises JaxgptError where its numbers do not fit."""
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = array.astype(np.dtype(dtype), copy=False)
    if rounded is not array and not is_finite(rounded):
        raise JaxgptError(fault(name, array, dtype))
    return rounded
