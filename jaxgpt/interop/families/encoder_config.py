"""What a Hugging Face configuration of a BERT-type encoder says, as fields of our Encoder, and what it cannot say."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, TypeVar

from pydantic import NonNegativeInt

from jaxgpt.interop.families.family import Family
from jaxgpt.interop.hugging_face import config as hf_config
from jaxgpt.interop.hugging_face.common_keys import CommonKeys
from jaxgpt.interop.hugging_face.config import Config, activation_name, inner_width
from jaxgpt.interop.name_map import NameMap
from jaxgpt.interop.zero_biases import with_all_biases
from jaxgpt.models import Encoder
from jaxgpt.nn.feed_forward import MLP
from jaxgpt.nn.norm import LayerNorm
from jaxgpt.nn.norm_place import PostNorm
from jaxgpt.ops.activations import GELU, Activation
from jaxgpt.ops.patterns import Bidirectional
from jaxgpt.ops.positions import Learned
from jaxgpt.spec import ConfigError, parse
from jaxgpt.spec.errors import quote
from jaxgpt.spec.sizes import Count, Width

E = TypeVar("E", bound=Encoder)

ACTIVATIONS: Mapping[str, Activation] = {**hf_config.ACTIVATIONS, "gelu_python": GELU()}
ONLY = {
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
}
"""Keys that change the computation in a way our encoders do not have, with the value that does not."""
COMMON = CommonKeys(
    vocab_size=30522,
    context=("max_position_embeddings", 512),
    d_model=("hidden_size", 768),
    num_layers=("num_hidden_layers", 12),
    num_heads=("num_attention_heads", 12),
    norm_eps=("layer_norm_eps", 1e-12),
    dropout=0.1,
    dropout_keys=("hidden_dropout_prob", "attention_probs_dropout_prob"),
    tied=None,
)


class Heads(NamedTuple):
    """What a class has above its blocks."""

    pooler: bool = False
    masked: bool = False
    next_sentence: bool = False


class Dialect(NamedTuple):
    """How one Hugging Face family differs from the others."""

    model_type: str
    defaults: Mapping[str, Any]
    """Where absent keys mean something else than in BERT."""
    offset: bool
    """Whether positions start behind the padding id."""
    head_activation: Activation | None
    """The masked head's; None: that of the blocks."""
    heads: Mapping[str, Heads]
    """Each class's. The first has the pooler alone, and is meant where a file names none."""


def encoder_family(kind: type[E], names: NameMap, dialect: Dialect, masked_head: str) -> Family:
    """A family of encoders. `masked_head`: the tensor by which a file shows that it has one."""

    def named(model: Encoder) -> NameMap:
        """A class without any head writes names without the prefix."""
        if model.masked_head or model.next_sentence or model.text_head is not None:
            return names
        return names._replace(rows=tuple(row._replace(bare=True) for row in names.rows))

    def fit(model: Encoder, tensors: Collection[str]) -> Encoder:
        """The model with the heads that a file holds: bert-base-uncased calls itself BertForMaskedLM and has a
        pooler."""
        present = {names.today(name) for name in tensors}
        pooler = "pooler.dense.weight" in present
        judges = pooler and "cls.seq_relationship.weight" in present
        return model.evolve(pooler=pooler, next_sentence=judges, masked_head=masked_head in present)

    return Family(
        model_type=dialect.model_type,
        architecture=next(name for name, has in dialect.heads.items() if has == Heads(masked=True)),
        kind=kind,
        names=named,
        spec=lambda config: read_config(config, dialect, kind),
        config=lambda model: write_config(model, dialect),
        fit=fit,
        filled=with_all_biases,
    )


def read_config(config: Mapping[str, Any], dialect: Dialect, family: type[E]) -> E:
    """The family's spec for a parsed config.json. Keys that do not touch the computation are ignored.

    Raises ConfigError with one line for every key that asks for something else than the family computes.
    """
    given = {**dialect.defaults, **config}
    asked = Config(given, dialect.model_type)
    problems = asked.problems
    activation = asked.activation("hidden_act", "gelu", ACTIVATIONS)
    for key, value in ONLY.items():
        asked.only(key, value)
    names = given.get("architectures") or [next(iter(dialect.heads))]
    known = [name for name in dialect.heads if names == [name]]
    if not known:
        problems.append(
            f"architectures: {quote(names)}, expected one of {', '.join(dialect.heads)}; their heads are read"
        )
    tree = COMMON.fields(asked)
    padding = asked("pad_token_id", None, NonNegativeInt) if dialect.offset else -1
    positions, offset = tree["context"], -1 if padding is None else padding + 1
    if not problems and not 0 <= offset < positions:
        problems.append(
            f"max_position_embeddings: {positions} with pad_token_id {quote(padding)} leave no position; a text's "
            "positions start behind the padding id"
        )
    tree |= {
        "token_types": asked("type_vocab_size", 2, Count),
        "embed_norm": tree["norm"],
        "feed_forward": {"kind": "mlp", "activation": activation, "d_ff": asked("intermediate_size", 3072, Width)},
        "position": {"kind": "learned", "offset": offset},
        "context": positions - offset,
        "head_activation": dialect.head_activation or activation,
    }
    if problems:
        raise ConfigError(dict.fromkeys(problems))
    has = dialect.heads[known[0]]
    tree |= {"pooler": has.pooler, "next_sentence": has.next_sentence, "masked_head": has.masked}
    try:
        return parse(family, tree)
    except ConfigError as error:  # of sizes that are sound one by one, and not together
        raise ConfigError([hf_config.in_words(problem, hf_config.WORDS) for problem in error.problems]) from None


def write_config(model: Encoder, dialect: Dialect) -> dict[str, Any]:
    """The content of config.json. Raises ConfigError with one line for every field that it cannot express."""
    feed_forward, position = model.feed_forward, model.position
    activation = feed_forward.activation if isinstance(feed_forward, MLP) else None
    known = activation in ACTIVATIONS.values()
    starts = position.offset if isinstance(position, Learned) else -1
    wants = {
        "vocab_size": (model.vocab_size is not None, "a number"),
        "position": (starts >= 1 if dialect.offset else starts == 0, _positions(dialect)),
        "norm": (isinstance(model.norm, LayerNorm) and model.norm.bias, "layer, with bias"),
        "embed_norm": (model.embed_norm == model.norm, "that of the blocks"),
        "norm_place": (model.norm_place == PostNorm(), "post"),
        "residual": (model.residual.kind == "sequential", "sequential"),
        "feed_forward": (known, f"mlp with one of {', '.join(ACTIVATIONS)}"),
        "pattern": (set(model.pattern) == {Bidirectional()}, "bidirectional"),
        "num_kv_heads": (model.kv_heads == model.num_heads, "num_heads"),
        "d_head": (model.head_width * model.num_heads == model.d_model, "d_model / num_heads"),
        "qk_norm": (model.qk_norm is None, "none"),
        "soft_cap": (model.soft_cap is None, "none"),
        "score_scale": (model.score_scale is None, "none"),
        "bias": (model.bias, "true"),
        "qkv_bias": (model.has_qkv_bias, "true"),
        "o_bias": (model.has_o_bias, "true"),
        "text_head": (model.text_head is None, "none"),
        "next_sentence": (not model.next_sentence or any(has.next_sentence for has in dialect.heads.values()), "false"),
        "token_types": (model.token_types > 0, "at least 1"),
        "head_activation": (
            not (model.masked_head and known) or model.head_activation == (dialect.head_activation or activation),
            "gelu" if dialect.head_activation else "that of feed_forward",
        ),
    }
    problems = [
        f"model.{name}: {getattr(model, name)!r}; Hugging Face's '{dialect.model_type}' has {expected} only"
        for name, (holds, expected) in wants.items()
        if not holds
    ]
    if problems:
        raise ConfigError(problems)
    return {
        "architectures": [architecture(model, dialect)],
        "model_type": dialect.model_type,
        **COMMON.keys(model),
        "intermediate_size": inner_width(model),
        "hidden_act": activation_name(model, ACTIVATIONS),
        "max_position_embeddings": model.context + starts,
        "pad_token_id": starts - 1 if dialect.offset else 0,
        "type_vocab_size": model.token_types,
    }


def architecture(model: Encoder, dialect: Dialect) -> str:
    """The class that has the model's heads; else the one with its masked head that lets a pooler lie, or the first."""
    named = {has: name for name, has in dialect.heads.items()}
    heads = Heads(model.pooler, model.masked_head, model.next_sentence)
    return named.get(heads) or (named[Heads(masked=True)] if model.masked_head else next(iter(dialect.heads)))


def _positions(dialect: Dialect) -> str:
    return "learned, with an offset of at least 1," if dialect.offset else "learned, without an offset,"
