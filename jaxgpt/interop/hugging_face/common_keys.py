"""The keys of config.json that every GPT and every encoder has under some name, as fields of our models, both ways."""

from typing import Any, NamedTuple

from jaxgpt.interop.hugging_face.config import Config, Small
from jaxgpt.models.transformer import Transformer
from jaxgpt.spec.sizes import Count, Layers, Length, Width


class CommonKeys(NamedTuple):
    """What a family calls the sizes and rates, each with what transformers assumes where the key is absent."""

    vocab_size: int
    context: tuple[str, int]
    d_model: tuple[str, int]
    num_layers: tuple[str, int]
    num_heads: tuple[str, int]
    norm_eps: tuple[str, float]
    """Of layer norms, all with bias."""
    dropout: float
    dropout_keys: tuple[str, ...]
    """They must agree on one rate."""
    tied: bool | None = True
    """Whether the output is the token table where the file does not say; None: the family's models have no choice."""

    def fields(self, config: Config) -> dict[str, Any]:
        """Our fields from the keys of config.json."""
        width, heads = config(*self.d_model, Width), config(*self.num_heads, Count)
        config.multiple(self.d_model[0], width, self.num_heads[0], heads)
        tied = {} if self.tied is None else {"tied": config("tie_word_embeddings", self.tied, bool)}
        return tied | {
            "vocab_size": config("vocab_size", self.vocab_size, Length),
            "context": config(*self.context, Length),
            "d_model": width,
            "num_layers": config(*self.num_layers, Layers),
            "num_heads": heads,
            "norm": {"kind": "layer", "eps": config(*self.norm_eps, Small)},
            "init_std": config("initializer_range", 0.02, Small),
            "dropout": config.dropout(self.dropout, *self.dropout_keys),
        }

    def keys(self, model: Transformer) -> dict[str, Any]:
        """The keys of config.json from our fields."""
        sizes = {theirs: getattr(model, ours) for ours, theirs in self.words.items()}
        return sizes | {
            "vocab_size": model.vocab_size,
            self.norm_eps[0]: getattr(model.norm, "eps", self.norm_eps[1]),
            "initializer_range": model.init_std,
            "tie_word_embeddings": getattr(model, "tied", True),
            **dict.fromkeys(self.dropout_keys, model.dropout),
        }

    @property
    def words(self) -> dict[str, str]:
        """Our sizes and what the family calls them."""
        return {name: getattr(self, name)[0] for name in ("num_layers", "d_model", "num_heads", "context")}
