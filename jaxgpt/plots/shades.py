"""A scale of colours for one quantity, even to the eye: lightness grows steadily (Oklab, Ottosson 2020).

It passes through the palette's blue and orange, which colour-blind readers tell apart, and keeps its order in grey.
"""

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from jaxgpt.plots.palette import COSINES

if TYPE_CHECKING:
    from matplotlib.colors import ListedColormap

_LMS = np.array(
    [[0.41222147, 0.53633254, 0.05144599], [0.2119035, 0.68069955, 0.10739696], [0.0883024, 0.281719, 0.629978]]
)
_LAB = np.array(
    [[0.21045426, 0.79361779, -0.00407205], [1.9779985, -2.4285922, 0.4505937], [0.0259040, 0.7827718, -0.8086758]]
)


@cache
def shades(count: int = 256) -> "ListedColormap":
    """`count` colours from the first of COSINES to its last."""
    from matplotlib.colors import ListedColormap, to_rgb

    stops = oklab(np.array([to_rgb(stop) for stop in COSINES]))
    lightness = np.linspace(stops[0, 0], stops[-1, 0], count)
    lab = np.stack([np.interp(lightness, stops[:, 0], stops[:, axis]) for axis in range(3)], axis=1)
    linear = (lab @ np.linalg.inv(_LAB).T) ** 3 @ np.linalg.inv(_LMS).T
    linear = linear.clip(0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return ListedColormap(curved, name="shades")


def oklab(rgb: np.ndarray) -> np.ndarray:
    """sRGB (N, 3) from 0 to 1 as lightness, green to red, blue to yellow."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    lab: np.ndarray = np.cbrt(linear @ _LMS.T) @ _LAB.T
    return lab
