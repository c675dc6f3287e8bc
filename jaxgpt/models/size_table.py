"""A row of a published size table, for families of one shape."""

from typing import Any

from jaxgpt.nn.feed_forward import Gated


def gated_size(
    layers: int, width: int, heads: int, kv_heads: int, inner: int, vocab: int, **more: Any
) -> dict[str, Any]:
    """Fields of a decoder with gated feed-forward layers of `inner` channels and grouped heads; `more` as they are."""
    return {
        "num_layers": layers,
        "d_model": width,
        "num_heads": heads,
        "num_kv_heads": kv_heads,
        "feed_forward": Gated(d_ff=inner),
        "vocab_size": vocab,
        **more,
    }
