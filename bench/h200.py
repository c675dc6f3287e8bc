"""An H200 that is not there: a device that jax compiles for, where its CUDA plugin is installed."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

MEMORY = 113e9
"""Bytes that jax takes of the card by default: three quarters."""
CARD = """
gpu_device_info {
  name: "NVIDIA H200" device_vendor: "NVIDIA Corporation" platform_version: "Compute Capability 9.0a"
  cuda_compute_capability { major: 9 feature_extension: ACCELERATED_FEATURES } core_count: 132 fpus_per_core: 128
  clock_rate_ghz: 1.98 device_address_bits: 64 ecc_enabled: true pcie_bandwidth: 34359738368 l2_cache_size: 52428800
  memory_bandwidth: 4800000000000 device_memory_size: 151397597184 shared_memory_per_block: 49152
  shared_memory_per_core: 233472 shared_memory_per_block_optin: 232448 threads_per_warp: 32
  threads_per_block_limit: 1024 threads_per_core_limit: 2048 registers_per_core_limit: 65536
  registers_per_block_limit: 65536 block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  thread_dim_limit_x: 1024 thread_dim_limit_y: 1024 thread_dim_limit_z: 64 driver_version: "13.0.0"
  runtime_version: "13.0.0" compile_time_toolkit_version: "13.0.0" dnn_version: "9.12.0"
}
platform_name: "CUDA" dnn_version_info { major: 9 minor: 12 patch: 0 } device_description_str: "NVIDIA H200"
"""
"""What XLA asks a card for, as it takes it in text."""


def missing() -> list[str]:
    """The wheels that jax lacks to compile for a CUDA device; a driver, cuDNN and CUDA itself are not needed."""
    wheels = "jax-cuda13-plugin", "jax-cuda13-pjrt"
    try:
        return [name for name in wheels if not version(name)]
    except PackageNotFoundError:
        return [f"{name}=={version('jax')}" for name in wheels]


def devices() -> list[Any]:
    """One H200 that is not there. jax asks the cuDNN at hand for its version, of which the compiler needs none."""
    from jax._src.cudnn import fused_attention_stablehlo as cudnn
    from jax.experimental import topologies

    cudnn.check_cudnn_version = lambda: 91200
    cudnn.check_compute_capability = lambda capability: float(capability) <= 9.0
    cudnn.is_cuda_compute_capability_equal = lambda capability: capability == "9.0"
    described = topologies.get_topology_desc("h200", "cuda", target_config=CARD, topology="1x1x1")
    return list(described.devices)
