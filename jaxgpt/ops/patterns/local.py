"""Windows around the own position, alone and with positions that everyone sees."""

from typing import Any

from pydantic import Field

from jaxgpt.ops.patterns.call import Call, Composed, before, behind, comb
from jaxgpt.ops.patterns.pattern import Extent, Relative
from jaxgpt.spec.sizes import INT32, Length


class Banded(Relative):
    """The last `window` positions, the own one included, and the next `right`: GPT-3's locally banded layers."""

    citation = "Child et al. 2019, section 4; Brown et al. 2020, section 2.1"
    window: Extent
    right: int = Field(default=0, ge=0, le=2**24)
    """Positions ahead that are seen too; 0 is causal."""

    def near(self, distance: Any) -> Any:
        """q − window < k ≤ q + right."""
        return (distance < self.window) & (distance >= -self.right)


class Dilated(Relative):
    """Every `dilation`-th of the positions behind, `window` of them: a wide view at the cost of a narrow one."""

    citation = "Beltagy et al. 2020 (Longformer), section 3.1"
    window: Extent
    """Positions seen, the own one included."""
    dilation: Length
    """Distance between them."""
    right: int = Field(default=0, ge=0, le=2**24)
    """Positions seen ahead, equally spaced; 0 is causal."""

    def near(self, distance: Any) -> Any:
        """q − k = m·dilation with −right ≤ m < window."""
        behind, ahead = (min(count * self.dilation, INT32) for count in (self.window, self.right))
        within = (distance < behind) & (distance >= -ahead)
        return within & (distance % self.dilation == 0)


class Sinks(Composed):
    """The last `window` positions and the first `count`: what keeps a window stable over endless text."""

    citation = "Xiao et al. 2024 (StreamingLLM), section 3"
    window: Extent
    count: Extent = 4

    def allows(self, q: Any, k: Any) -> Any:
        """k ≤ q, and q − k < window or k < count."""
        return (k <= q) & ((q - k < self.window) | (k < self.count))

    def calls(self, length: int) -> tuple[Call, ...]:
        """The window, and the first positions as seen from beyond it."""
        return comb(length, 0, 1, self.window), *behind(length, self.window, self.count)


class GlobalWindow(Composed):
    """A two-sided window, and `count` first positions that see everyone and are seen by everyone: for encoders."""

    citation = "Beltagy et al. 2020 (Longformer), section 3.1; Zaheer et al. 2020 (BigBird), section 2"
    window: Extent
    """Positions to each side, the own one included: |q − k| < window."""
    count: Extent = 1

    def allows(self, q: Any, k: Any) -> Any:
        """|q − k| < window, or k < count, or q < count."""
        return ((q - k < self.window) & (k - q < self.window)) | (k < self.count) | (q < self.count)

    def calls(self, length: int) -> tuple[Call, ...]:
        """The window's two sides, and the first positions as they are seen from beyond it and see beyond it."""
        ahead = (comb(length, 1, 1, self.window - 1, ahead=True),) if min(self.window, length) > 1 else ()
        far = behind(length, self.window, self.count) + before(length, self.window, self.count)
        return comb(length, 0, 1, self.window), *ahead, *far
