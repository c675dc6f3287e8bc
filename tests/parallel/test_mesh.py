"""Mesh sizes: exact, filled, or refused."""

import jax
import pytest
from pydantic import ValidationError

from jaxgpt.parallel import Mesh
from jaxgpt.spec import ConfigError


def test_minus_one_takes_the_rest():
    assert big(Mesh()) == {"data": 8}
    assert big(Mesh(data=2, fsdp=-1, tensor=2)) == {"data": 2, "fsdp": 2, "tensor": 2}
    assert big(Mesh(data=1), 1) == {}


def test_data_fills_unless_another_axis_does():
    assert big(Mesh(fsdp=2, tensor=2)) == {"data": 2, "fsdp": 2, "tensor": 2}
    assert big(Mesh(sequence=-1)) == {"sequence": 8}
    assert big(Mesh(fsdp=-1, tensor=4)) == {"fsdp": 2, "tensor": 4}


def big(mesh, devices=8):
    """The axes of more than one device."""
    return {name: size for name, size in mesh.shape(devices).items() if size > 1}


@pytest.mark.parametrize("sizes", [{"data": 3}, {"data": 2, "fsdp": 2}, {"tensor": 3}, {"data": 16}], ids=str)
def test_what_does_not_use_the_devices_exactly_is_refused(sizes):
    with pytest.raises(ConfigError, match=r"exec\.mesh: .* 8 devices; set one axis"):
        Mesh(**sizes).shape(8)


@pytest.mark.parametrize("sizes", [{"data": 0}, {"fsdp": -2}, {"data": -1, "tensor": -1}], ids=str)
def test_impossible_sizes_are_refused(sizes):
    with pytest.raises(ValidationError, match="at most one -1"):
        Mesh(**sizes)


def test_build_lays_all_devices_out_once():
    mesh = Mesh(data=2, fsdp=2, tensor=2).build()
    assert tuple(mesh.shape) == ("pipeline", "data", "fsdp", "expert", "sequence", "tensor")
    assert tuple(mesh.shape.values()) == (1, 2, 2, 1, 1, 2)
    assert sorted(device.id for device in mesh.devices.flat) == list(range(8))
    assert Mesh().build(jax.devices()[:3]).devices.shape == (1, 3, 1, 1, 1, 1)
