"""F4: other libraries' weights, in and out. One two-way name map per family; numpy in, numpy out, no torch."""

from jaxgpt.interop import gpt1, gpt2

__all__ = ["gpt1", "gpt2"]
