"""The device mesh, by axis name."""

from collections.abc import Sequence
from math import prod
from typing import Self

import jax
import numpy as np
from jax.sharding import AxisType
from pydantic import model_validator

from jaxgpt.spec import ConfigError, Spec


class Mesh(Spec):
    """Sizes of the axes; one of them may be -1 and takes the devices that are left."""

    data: int = -1
    """Copies of the model, each with its rows of the batch."""
    fsdp: int = 1
    """Rows of the batch and slices of every parameter (ZeRO-3)."""
    tensor: int = 1
    """Slices of every matrix product (Megatron)."""

    @model_validator(mode="after")
    def _sizes(self) -> Self:
        sizes = [self.data, self.fsdp, self.tensor]
        if any(size == 0 or size < -1 for size in sizes) or sizes.count(-1) > 1:
            raise ValueError(f"sizes must be positive, with at most one -1; got {sizes}")
        return self

    def shape(self, devices: int) -> dict[str, int]:
        """Axis sizes with -1 filled. Raises ConfigError when they do not use the devices exactly."""
        sizes = {"data": self.data, "fsdp": self.fsdp, "tensor": self.tensor}
        fixed = prod(size for size in sizes.values() if size > 0)
        if -1 in sizes.values() and devices % fixed == 0:
            return {name: devices // fixed if size == -1 else size for name, size in sizes.items()}
        if fixed != devices:
            raise ConfigError(f"exec.mesh: {sizes} does not use {devices} devices; set one axis to -1 or change a size")
        return sizes

    def build(self, devices: Sequence[jax.Device] | None = None) -> jax.sharding.Mesh:
        """The jax mesh over `devices` (default: all). Axes are Auto: the compiler propagates from the rule tables."""
        devices = jax.devices() if devices is None else devices
        sizes = self.shape(len(devices))
        grid = np.array(devices).reshape(tuple(sizes.values()))
        return jax.sharding.Mesh(grid, tuple(sizes), axis_types=(AxisType.Auto,) * len(sizes))
