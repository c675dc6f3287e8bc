"""PEFT's adapter_config.json: every key that changes what is computed is followed, or refused by its name.

Format: peft 0.21, `peft/tuners/*/config.py`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from jaxgpt.interop.hugging_face.config import Config, Rate, Small
from jaxgpt.interop.json_object import read_object
from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import quote
from jaxgpt.spec.sizes import Count, Index, Layers, Length, Width

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
KINDS = {
    "LORA": "lora",
    "IA3": "ia3",
    "PREFIX_TUNING": "prefix",
    "PROMPT_TUNING": "prompt",
    "P_TUNING": "prompt",
}
"""PEFT's methods and ours. Prompts of P-tuning are saved as their encoder gave them, which makes them prompts."""
TASKS = (None, "CAUSAL_LM", "SEQ_CLS", "FEATURE_EXTRACTION")
FACTS = {
    "peft_type",
    "peft_version",
    "auto_mapping",
    "base_model_name_or_path",
    "revision",
    "task_type",
    "inference_mode",
    "modules_to_save",
    "target_modules",
    "exclude_modules",
    "layers_to_transform",
    "layers_pattern",
}
"""Keys of every method: facts of no consequence here, and what is read of every method."""
OWN = {
    "lora": {
        "r",
        "lora_alpha",
        "lora_dropout",
        "rank_pattern",
        "alpha_pattern",
        "use_rslora",
        "use_dora",
        "lora_bias",
        "bias",
        "trainable_token_indices",
        "ensure_weight_tying",
        "fan_in_fan_out",  # PEFT itself takes it from the layer's class
        "init_lora_weights",
        "eva_config",  # these three say how the start was found
        "corda_config",
        "lora_ga_config",
        "loftq_config",
        "megatron_core",  # the name of a module that nothing here uses
        "qalora_group_size",
    },
    "ia3": {"feedforward_modules", "fan_in_fan_out", "init_ia3_weights"},
    "prefix": {
        "num_virtual_tokens",
        "num_layers",
        "num_attention_heads",
        "token_dim",
        "num_transformer_submodules",
        "prefix_projection",  # what it projected is saved, and the projection is not
        "encoder_hidden_size",
        "init_weights",
    },
    "prompt": {
        "num_virtual_tokens",
        "num_layers",
        "num_attention_heads",
        "token_dim",
        "num_transformer_submodules",
        "prompt_tuning_init",
        "prompt_tuning_init_text",
        "tokenizer_name_or_path",
        "tokenizer_kwargs",
        "encoder_reparameterization_type",
        "encoder_hidden_size",
        "encoder_num_layers",
        "encoder_dropout",
    },
}
STARTS = (True, False, "gaussian", "eva", "orthogonal")
"""Starts of LoRA that leave the base's weights as they are; PiSSA, OLoRA, CorDA, LoftQ and LoRA-GA change them."""
Names = Annotated[list[Annotated[str, Field(max_length=300)]], Field(max_length=10_000)]
Pattern = Annotated[str, Field(max_length=1000)]


class Targets(NamedTuple):
    """Which modules an adapter is on; see check_target_module_exists in PEFT."""

    modules: str | tuple[str, ...]
    """Ends of module names, or a regular expression of whole ones, or `all-linear`."""
    exclude: str | tuple[str, ...] = ()
    layers: tuple[int, ...] = ()
    """Of these layers alone; empty: of all."""
    stacks: tuple[str, ...] = ()
    """What stands before a layer's number; empty: anything."""
    saved: tuple[str, ...] = ()
    """Modules that are trained whole, and lie whole in the file; none of them has an adapter."""


class LoraConfig(NamedTuple):
    """LoRA: W + scale·B·A, with scale alpha / rank, or alpha / √rank where `rslora`."""

    targets: Targets
    rank: int
    alpha: float
    rank_pattern: Mapping[str, int]
    """Other ranks, by a regular expression of a module's name."""
    alpha_pattern: Mapping[str, float]
    rslora: bool
    dora: bool
    lora_bias: bool
    """Whether B has a bias."""
    dropout: float
    bias: str
    """`none`, or whose biases lie in the file: `all`, or those of the `lora_only`."""
    tokens: Mapping[str, tuple[int, ...]]
    """Rows of an embedding that were trained, by the module's name."""
    tying: bool
    """Whether the output follows a token table that was trained."""


class IA3Config(NamedTuple):
    """IA3: outputs of modules scaled, or inputs of those in `feedforward`."""

    targets: Targets
    feedforward: str | tuple[str, ...]


class VirtualConfig(NamedTuple):
    """Virtual tokens: a prefix of keys and values, or a prompt of embeddings."""

    kind: str
    length: int
    layers: int | None
    heads: int | None
    """Key and value heads."""
    width: int | None
    """Channels of all heads of keys together, or of an embedding."""
    saved: tuple[str, ...]


PeftConfig = LoraConfig | IA3Config | VirtualConfig


def read_config(path: Path) -> PeftConfig:
    """The adapter_config.json at `path`. Raises ConfigError with one line for every key that cannot be followed."""
    content = read_object(path, "the configuration of a PEFT adapter")
    config = Config(content, "")
    kind = KINDS.get(name) if isinstance(name := content.get("peft_type"), str) else None
    if kind is None:
        raise ConfigError(f"{path}: peft_type: {quote(name)} is not read; known: {', '.join(KINDS)}")
    if config("task_type", None, str) not in TASKS:
        config.problems.append(
            f"task_type: {quote(content['task_type'])} is not read; known: {', '.join(filter(None, TASKS))}"
        )
    for key in content.keys() - FACTS - OWN[kind]:
        if not _unset(content[key]):
            config.problems.append(f"{quote(key)[1:-1]}: {quote(content[key])} is not followed here, only null")
    read: PeftConfig
    if kind == "lora":
        read = _lora(config)
    else:
        read = _ia3(config) if kind == "ia3" else _virtual(config, kind)
    if config.problems:
        raise ConfigError([f"{path}: {problem}" for problem in dict.fromkeys(config.problems)])
    return read


def _targets(config: Config) -> Targets:
    layers = config("layers_to_transform", None, Index | Annotated[list[Index], Field(max_length=10_000)])
    return Targets(
        _names(config("target_modules", ..., Pattern | Names)),
        _names(config("exclude_modules", None, Pattern | Names)),
        (layers,) if isinstance(layers, int) else tuple(layers or ()),
        _several(config("layers_pattern", None, Pattern | Names)),
        _several(config("modules_to_save", None, Names)),
    )


def _lora(config: Config) -> LoraConfig:
    rank, alpha = config("r", 8, Count), config("lora_alpha", 8, Small)
    start = config("init_lora_weights", True)
    if start not in STARTS or not isinstance(start, bool | str):
        config.problems.append(
            f"init_lora_weights: {quote(start)} changed the base's weights too, and the file holds what belongs to the "
            "changed ones; save it with path_initial_model_for_weight_conversion"
        )
    dora, biased = config("use_dora", False, bool), config("lora_bias", False, bool)
    if dora and biased:
        config.problems.append("lora_bias: true with use_dora is not there in PEFT either; one of them is wrong")
    tokens = config("trainable_token_indices", None, list[Index] | dict[str, list[Index]]) or {}
    return LoraConfig(
        _targets(config),
        rank,
        float(alpha),
        config("rank_pattern", None, dict[Pattern, Count]) or {},
        config("alpha_pattern", None, dict[Pattern, Small]) or {},
        config("use_rslora", False, bool),
        dora,
        biased,
        float(config("lora_dropout", 0.0, Rate)),
        config("bias", "none", Annotated[str, Field(pattern="^(none|all|lora_only)$")]),
        {name: tuple(ids) for name, ids in (tokens if isinstance(tokens, dict) else {"": tokens}).items()},
        config("ensure_weight_tying", False, bool),
    )


def _ia3(config: Config) -> IA3Config:
    return IA3Config(_targets(config), _names(config("feedforward_modules", ..., Pattern | Names)))


def _virtual(config: Config, kind: str) -> VirtualConfig:
    config.only("num_transformer_submodules", None, 1)
    return VirtualConfig(
        kind,
        config("num_virtual_tokens", ..., Length),
        config("num_layers", None, Layers),
        config("num_attention_heads", None, Count),
        config("token_dim", None, Width),
        _several(config("modules_to_save", None, Names)),
    )


def _names(value: Any) -> str | tuple[str, ...]:
    """A list as a tuple; one text, which is a pattern, as it is."""
    return value if isinstance(value, str) else tuple(value) if isinstance(value, list) else ()


def _several(value: Any) -> tuple[str, ...]:
    """A list as a tuple; one text is a list of it."""
    names = _names(value)
    return (names,) if isinstance(names, str) else names


def _unset(value: Any) -> bool:
    return value is None or value is False or (isinstance(value, str | dict | list) and not value)
