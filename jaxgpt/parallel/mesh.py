"""The device mesh, by axis name."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Annotated, Any, Self

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType
from pydantic import Field, model_validator

from jaxgpt.spec import ConfigError, Spec

ROWS = ("data", "fsdp", "expert")
"""The axes that split the rows of a batch."""

Axis = Annotated[int, Field(le=2**20)]


class Mesh(Spec):
    """Sizes of the axes; one of them may be -1 and takes the devices that are left.

    From the outside in: neighbours along the last axes talk most, and are placed next to one another.
    """

    pipeline: Axis = 1
    """Stages, each with its share of the layers (Huang et al. 2019, GPipe)."""
    data: Axis = -1
    """Copies of the model, each with its rows of the batch. Fills the devices unless another axis does."""
    fsdp: Axis = 1
    """Rows of the batch, and slices of the train state (Rajbhandari et al. 2020, ZeRO)."""
    expert: Axis = 1
    """Rows of the batch, and slices of the experts (Lepikhin et al. 2021, GShard)."""
    sequence: Axis = 1
    """Slices of every row's tokens (Liu et al. 2023, ring attention)."""
    tensor: Axis = 1
    """Slices of every matrix product (Shoeybi et al. 2019, Megatron-LM)."""

    @model_validator(mode="before")
    @classmethod
    def _another_fills(cls, value: Any) -> Any:
        if isinstance(value, dict) and "data" not in value and -1 in value.values():
            return {**value, "data": 1}
        return value

    @model_validator(mode="after")
    def _sizes(self) -> Self:
        sizes = [*self.model_dump().values()]
        if any(size == 0 or size < -1 for size in sizes) or sizes.count(-1) > 1:
            raise ValueError(f"sizes must be positive, with at most one -1; got {self.model_dump()}")
        return self

    def shape(self, devices: int) -> dict[str, int]:
        """Axis sizes with -1 filled. Raises ConfigError when they do not use the devices exactly."""
        sizes = self.model_dump()
        fixed = prod(size for size in sizes.values() if size > 0)
        if -1 in sizes.values() and devices % fixed == 0:
            return {name: devices // fixed if size == -1 else size for name, size in sizes.items()}
        if fixed != devices:
            named = {name: size for name, size in sizes.items() if size != 1}
            raise ConfigError(
                f"exec.mesh: {named or sizes} does not use {devices} devices; set one axis to -1 or change a size"
            )
        return sizes

    def build(self, devices: Sequence[jax.Device] | None = None) -> jax.sharding.Mesh:
        """The jax mesh over `devices` (default: all). Axes are Auto: the compiler propagates from the rule tables.

        On TPUs axes are laid along the torus, and `data` crosses slices where there are several.
        """
        devices = jax.devices() if devices is None else devices
        sizes = self.shape(len(devices))
        return jax.sharding.Mesh(_grid(sizes, devices), tuple(sizes), axis_types=(AxisType.Auto,) * len(sizes))


def row_parts(sizes: Mapping[str, int]) -> int:
    """How many parts a mesh of these axes splits the rows of a batch into."""
    return prod(sizes.get(axis, 1) for axis in ROWS)


def across(sizes: dict[str, int], slices: int) -> str:
    """The axis that crosses the slices, whose network is the slowest. Raises ConfigError where none divides by them."""
    outer = next((name for name in ("pipeline", "data", "fsdp") if sizes[name] % slices == 0), None)
    if outer is None:
        raise ConfigError(f"exec.mesh: {slices} slices need pipeline, data or fsdp to be a multiple of {slices}")
    return outer


def _grid(sizes: dict[str, int], devices: Sequence[jax.Device]) -> np.ndarray:
    shape = tuple(sizes.values())
    if getattr(devices[0], "platform", "") != "tpu":
        return np.array(devices).reshape(shape)
    slices = len({getattr(device, "slice_index", 0) for device in devices})
    if slices == 1:
        return mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True)
    outer = across(sizes, slices)
    between = tuple(slices if name == outer else 1 for name in sizes)
    within = tuple(size // ways for size, ways in zip(shape, between, strict=True))
    return mesh_utils.create_hybrid_device_mesh(within, between, devices, allow_split_physical_axes=True)
