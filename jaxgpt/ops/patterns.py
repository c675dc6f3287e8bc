"""The pattern seam: who may attend to whom. How it is computed is the kernel's business.

A pattern is a closed form of two positions, so it holds for any length, for packed rows (segments are the kernel's
argument) and for decoding with a cache.
"""

from abc import abstractmethod
from typing import Any

from pydantic import PositiveInt

from jaxgpt.spec import Seam


class Pattern(Seam, seam="pattern"):
    """Base of all attention patterns."""

    @abstractmethod
    def allows(self, q: Any, k: Any) -> Any:
        """Whether the query at position q sees the key at position k: bool, broadcast over int arrays."""

    @abstractmethod
    def mean_keys(self, length: int) -> float:
        """Keys seen by a query, averaged over a row of `length`: what the true FLOP count rests on."""

    @abstractmethod
    def span(self) -> int | None:
        """How many positions back (the own one counted) a query can see; None where there is no bound."""


class Causal(Pattern):
    """Every position up to and including the own one."""

    citation = "Vaswani et al. 2017, section 3.2.3"

    def allows(self, q: Any, k: Any) -> Any:
        """k ≤ q."""
        return k <= q

    def mean_keys(self, length: int) -> float:
        """(T + 1) / 2."""
        return (length + 1) / 2

    def span(self) -> int | None:
        """No bound."""
        return None


class Banded(Pattern):
    """The last `window` positions, the own one included: GPT-3's locally banded layers."""

    citation = "Child et al. 2019, section 4; Brown et al. 2020, section 2.1"
    window: PositiveInt

    def allows(self, q: Any, k: Any) -> Any:
        """q − window < k ≤ q."""
        return (k <= q) & (q - k < self.window)

    def mean_keys(self, length: int) -> float:
        """The window, less what the first rows lack."""
        window = min(self.window, length)
        return window - window * (window - 1) / (2 * length)

    def span(self) -> int | None:
        """The window."""
        return self.window


class Bidirectional(Pattern):
    """Everyone sees everyone: encoders."""

    citation = "Devlin et al. 2019, section 3"

    def allows(self, q: Any, k: Any) -> Any:
        """Always, for any two real positions."""
        return (k >= 0) & (q >= 0)

    def mean_keys(self, length: int) -> float:
        """T."""
        return float(length)

    def span(self) -> int | None:
        """No bound."""
        return None
