"""What comparing with Hugging Face's families of models needs."""

import jax
import pytest


@pytest.fixture(scope="module")
def float32_matmuls():
    """On both sides, whatever the processor would rather have."""
    torch = pytest.importorskip("torch")
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    with jax.default_matmul_precision("float32"):
        yield
    torch.set_float32_matmul_precision(before)
