"""A sentence-transformers folder: an encoder, and the modules that make one vector of its hidden states.

modules.json lists them with a folder for each: Transformer, Pooling, then Dense and Normalize in any number.
Reimers & Gurevych 2019, Sentence-BERT; layout: https://sbert.net/docs/sentence_transformer/usage/custom_models.html
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgpt.interop.finite import fault, is_finite
from jaxgpt.interop.hugging_face import folder as hf_folder
from jaxgpt.interop.json_object import read_list, read_object
from jaxgpt.interop.pickles import refuse_pickles
from jaxgpt.interop.safetensors import FILE, read_tensors
from jaxgpt.interop.source import Source
from jaxgpt.ops.pooling import Recipe, normalise
from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import quote

MODULES, PROMPTS = "modules.json", "config_sentence_transformers.json"
POOLINGS = {
    "cls_token": "cls",
    "max_tokens": "max",
    "mean_tokens": "mean",
    "mean_sqrt_len_tokens": "mean_sqrt_len",
    "weightedmean_tokens": "weighted_mean",
    "lasttoken": "last",
}
"""Their flags, `pooling_mode_...`, in the order in which they join vectors; our names."""
MODES = {"cls": "cls", "max": "max", "mean": "mean", "mean_sqrt_len_tokens": "mean_sqrt_len"} | {
    "weightedmean": "weighted_mean",
    "lasttoken": "last",
}
"""What newer files say in one word, `pooling_mode`."""
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "Identity": lambda x: x,
    "Tanh": jnp.tanh,
    "ReLU": jax.nn.relu,
    "GELU": lambda x: jax.nn.gelu(x, approximate=False),
}


@dataclass(frozen=True, eq=False)
class Dense:
    """A layer behind the pooling: float32 (B, in) -> (B, out)."""

    weight: np.ndarray
    """(out, in)"""
    bias: np.ndarray | None
    activation: str
    """In ACTIVATIONS."""

    def __call__(self, x: jax.Array) -> jax.Array:
        """x·weight + bias, then the activation."""
        return ACTIVATIONS[self.activation](x @ self.weight.T + (0.0 if self.bias is None else self.bias))


def read_source(folder: Path) -> Source:
    """The encoder's source with the folder's recipe. Raises ConfigError with one line for whatever is not followed."""
    kinds, directories = _modules(folder)
    if kinds[:2] != ["Transformer", "Pooling"] or not set(kinds[2:]) <= {"Dense", "Normalize"}:
        raise ConfigError(
            f"{folder / MODULES}: modules {', '.join(kinds)} are not followed; expected Transformer, Pooling, then "
            "any of Dense and Normalize"
        )
    source = hf_folder.read_source(directories[0])
    poolings = _poolings(directories[1] / "config.json")
    width = len(poolings) * source.model.width
    after: list[Callable[[jax.Array], jax.Array]] = []
    for kind, directory in zip(kinds[2:], directories[2:], strict=True):
        if kind == "Normalize":
            after.append(normalise)
        else:
            layer = _dense(directory, width)
            width = layer.weight.shape[0]
            after.append(layer)
    settings = next(
        (read_object(path, "settings") for path in sorted(directories[0].glob("sentence_*_config.json"))), {}
    )
    recipe = Recipe(
        poolings=poolings,
        after=tuple(after),
        max_length=_length(settings.get("max_seq_length"), directories[0]),
        prompt=_prompt(folder / PROMPTS, directories[1] / "config.json"),
        strip=True,
        lowercase=settings.get("do_lower_case") is True,
    )
    return source._replace(recipe=recipe)


def _modules(folder: Path) -> tuple[list[str], list[Path]]:
    """Each module's class and folder. A folder is named, not described: nothing outside of `folder` is looked at."""
    path = folder / MODULES
    kinds, directories, problems = [], [], []
    for index, entry in enumerate(read_list(path, "the modules of a sentence-transformers model")):
        kind, name = entry.get("type"), entry.get("path")
        if not isinstance(kind, str) or not kind.startswith("sentence_transformers."):
            problems.append(f"{path}: entry {index}: type {quote(kind)} is code of others, which is never run here")
            continue
        if (
            not isinstance(name, str)
            or not name.isprintable()
            or len(name) > 100
            or (name and (name != Path(name).name or name in ("..", ".") or "\\" in name))
        ):
            problems.append(f"{path}: entry {index}: path {quote(name)} is not the name of a folder beside the file")
            continue
        directory = folder / name
        if not _beside(directory, folder):
            problems.append(
                f"{path}: entry {index}: path {quote(name)} links out of the folder; put the files themselves there"
            )
            continue
        kinds.append(kind.rpartition(".")[2])
        directories.append(directory)
    if problems:
        raise ConfigError(problems)
    return kinds, directories


def _beside(path: Path, folder: Path) -> bool:
    """Whether `place` is `folder` or in it, after all links."""
    try:
        real, root = path.resolve(), folder.resolve()
    except (OSError, RuntimeError):  # links in a circle
        return False
    return root in (real, real.parent)


def _poolings(path: Path) -> tuple[str, ...]:
    config = read_object(path, "settings of pooling")
    flags = {key: value for key, value in config.items() if key.startswith("pooling_mode_") and value}
    modes = config.get("pooling_mode")
    if modes is not None:
        named = modes if isinstance(modes, list) else [modes]
        if not named or not all(isinstance(mode, str) and mode in MODES for mode in named):
            raise ConfigError(f"{path}: pooling_mode: {quote(modes)} is not followed; known: {', '.join(MODES)}")
        return tuple(MODES[mode] for mode in named)
    unknown = [key for key in flags if key.removeprefix("pooling_mode_") not in POOLINGS]
    if unknown or not flags:
        shown = ", ".join(unknown) or "none is on"
        raise ConfigError(f"{path}: pooling_mode_: {shown}; expected one or more of {', '.join(POOLINGS)}")
    return tuple(ours for theirs, ours in POOLINGS.items() if f"pooling_mode_{theirs}" in flags)


def _dense(folder: Path, width: int) -> Dense:
    path = folder / "config.json"
    config = read_object(path, "settings of a dense layer")
    name = str(config.get("activation_function", "torch.nn.modules.activation.Tanh")).rpartition(".")[2]
    if name not in ACTIVATIONS:
        raise ConfigError(
            f"{path}: activation_function: {quote(name)} is not followed; known: {', '.join(ACTIVATIONS)}"
        )
    if not (folder / FILE).exists():
        raise refuse_pickles(folder) or ConfigError(f"{folder}: no weights; expected {FILE}")
    out = config.get("out_features")
    if type(out) is not int or out < 1:
        raise ConfigError(f"{path}: out_features: {quote(out)}, expected a whole number above 0")
    shapes: dict[str, tuple[Any, ...]] = {"linear.weight": (out, width)}
    if config.get("bias", True):
        shapes["linear.bias"] = (out,)
    tensors = read_tensors(folder)
    given = {tensor: stored.shape for tensor, stored in tensors.items()}
    if given != shapes:
        raise ConfigError(
            f"{folder / FILE}: tensors {quote(given, 200)}; expected {shapes}, by {path.name} and what comes before"
        )
    weight, bias = (
        np.array(tensors[tensor].read(), np.float32) if tensor in tensors else None
        for tensor in ("linear.weight", "linear.bias")
    )
    assert weight is not None
    for tensor, array in {"linear.weight": weight, "linear.bias": bias}.items():
        if array is not None and not is_finite(array):
            raise ConfigError(f"{folder / FILE}: {fault(tensor, array, 'float32')}")
    return Dense(weight, bias, name)


def _length(given: Any, folder: Path) -> int | None:
    """Tokens that a text is cut to: theirs, else the tokenizer's."""
    path = folder / "tokenizer_config.json"
    if given is None and path.exists():
        given = read_object(path, "a tokenizer's settings").get("model_max_length")
        if isinstance(given, int) and given > 10**9:  # transformers' way to say that there is none
            given = None
    if given is None:
        return None
    if type(given) is not int or given < 1:
        raise ConfigError(f"{folder}: max_seq_length: {quote(given)}, expected a number of tokens")
    return given


def _prompt(path: Path, pooling: Path) -> str:
    """The prompt that stands before every text, where one does by default."""
    settings: Mapping[str, Any] = (
        read_object(path, "settings of a sentence-transformers model") if path.exists() else {}
    )
    name, prompts = settings.get("default_prompt_name"), settings.get("prompts")
    if name is None:
        return ""
    prompt = prompts.get(name) if isinstance(prompts, dict) and isinstance(name, str) else None
    if not isinstance(prompt, str):
        raise ConfigError(f"{path}: default_prompt_name: {quote(name)} is not among its prompts")
    if prompt and read_object(pooling, "settings of pooling").get("include_prompt", True) is not True:
        raise ConfigError(f"{pooling}: include_prompt: false is not followed; pooling reads the prompt's tokens too")
    return prompt
