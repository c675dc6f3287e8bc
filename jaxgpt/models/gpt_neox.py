"""GPT-NeoX-20B: Black et al. 2022; Pythia: Biderman et al. 2023, table 1."""

from typing import Any, ClassVar

from jaxgpt.models.decoder import Decoder
from jaxgpt.nn.feed_forward import MLP, FeedForward
from jaxgpt.nn.residual import Parallel, Residual
from jaxgpt.ops.activations import GELU
from jaxgpt.ops.positions import Position, Rotary
from jaxgpt.spec.sizes import Length


def _pythia(layers: int, width: int, heads: int, vocab: int = 50304) -> dict[str, Any]:
    """A size of Pythia, in which a quarter of each head's channels turn by position."""
    position = Rotary(pairing="half", width=width // heads // 4)
    return {"num_layers": layers, "d_model": width, "num_heads": heads, "vocab_size": vocab, "position": position}


class GPTNeoX(Decoder, kind="gpt_neox"):
    """Attention and feed-forward layer read the stream side by side, each through its norm; a part of each head's
    channels turns, all of them unless the position says a width."""

    citation = "Black et al. 2022 (GPT-NeoX-20B), section 2.1; Biderman et al. 2023 (Pythia), table 1"
    sizes: ClassVar[dict[str, dict[str, Any]]] = {
        "pythia-14m": _pythia(6, 128, 4),
        "pythia-31m": _pythia(6, 256, 8),
        "pythia-70m": _pythia(6, 512, 8),
        "pythia-160m": _pythia(12, 768, 12),
        "pythia-410m": _pythia(24, 1024, 16),
        "pythia-1b": _pythia(16, 2048, 8),
        "pythia-1.4b": _pythia(24, 2048, 16),
        "pythia-2.8b": _pythia(32, 2560, 32),
        "pythia-6.9b": _pythia(32, 4096, 32, 50432),
        "pythia-12b": _pythia(36, 5120, 40, 50688),
        "20b": _pythia(44, 6144, 64, 50432) | {"feed_forward": "mlp"},  # GELU by tanh there
    }
    """The checkpoints EleutherAI/pythia-* (and their -deduped twins) and EleutherAI/gpt-neox-20b."""
    context: Length = 2048
    position: Position = Rotary(pairing="half")
    residual: Residual = Parallel()
    feed_forward: FeedForward = MLP(activation=GELU())
    tied: bool = False
