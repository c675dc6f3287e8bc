"""What a step measured, lane by lane."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np


class LaneMetrics(Mapping[str, Any]):
    """A lane's share of a step's metrics. The first one read waits for the device."""

    def __init__(self, step: "StepMetrics", index: int):
        self._step, self._index = step, index

    def __getitem__(self, name: str) -> Any:
        return self._step.fetch(name)[self._index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._step.device)

    def __len__(self) -> int:
        return len(self._step.device)


class StepMetrics:
    """What a step measured, (L,) each. It stays on the device until a name is read: most steps read one."""

    def __init__(self, metrics: Mapping[str, jax.Array]):
        self.device = metrics
        self._host: dict[str, np.ndarray] = {}

    def fetch(self, name: str) -> np.ndarray:
        """One metric of all lanes, as numpy."""
        if name not in self._host:
            self._host[name] = jax.device_get(self.device[name])
        return self._host[name]

    def lane(self, index: int) -> LaneMetrics:
        """The metrics of the lane at `index`, each a number."""
        return LaneMetrics(self, index)
