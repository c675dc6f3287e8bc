"""What a sentence-transformers folder has beside a Hugging Face one: the modules that make one vector of a text.

Written in the words that sentence-transformers has had since 2.0. `sentence_transformers` reads them.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgpt.disk import write_json_atomic
from jaxgpt.interop.finite import cast
from jaxgpt.interop.safetensors import write_tensors
from jaxgpt.interop.sentence_transformers.read import MODES, MODULES, POOLINGS, PROMPTS, Dense
from jaxgpt.models import Model
from jaxgpt.nn.contrastive import Contrastive
from jaxgpt.nn.task_head import TaskHead
from jaxgpt.ops.pooling import Recipe, normalise
from jaxgpt.spec import ConfigError

TORCH = {
    "Identity": "torch.nn.modules.linear.Identity",
    "Tanh": "torch.nn.modules.activation.Tanh",
    "ReLU": "torch.nn.modules.activation.ReLU",
    "GELU": "torch.nn.modules.activation.GELU",
}
PROJECTIONS = {"none": {}, "linear": {"dense": "Identity"}, "tanh": {"dense": "Tanh"}} | {
    "mlp": {"dense": "ReLU", "out": "Identity"}
}
"""The contrastive head's layers, each with what follows it."""


def strip_head(model: Model, params: Mapping[str, Any]) -> tuple[Model, Mapping[str, Any], Recipe | None]:
    """A model without a head that makes vectors, its parameters, and the recipe that does what the head did; None: it
    had none. A head that judges texts stays, as a part of other libraries' classes.

    A learned temperature, which only training reads, is left behind. Raises ConfigError for a head of another kind.
    """
    head = model.text_head
    if head is None or isinstance(head, TaskHead):
        return model, params, None
    if not isinstance(head, Contrastive):
        raise ConfigError(
            f"model.text_head: a {head.kind!r} has no form in a folder of other libraries; set model.text_head=null"
        )
    before = head.pooling == "cls_before_pooler"
    after: list[Callable[[jax.Array], jax.Array]] = []
    for name, activation in {} if before else PROJECTIONS[head.projection].items():
        weight, bias = (np.asarray(params["text_head"][name][part], np.float32) for part in ("weight", "bias"))
        after.append(Dense(weight.T, bias, activation))
    body = {name: tree for name, tree in params.items() if name != "text_head"}
    return model.evolve(text_head=None), body, Recipe(("cls" if before else head.pooling,), tuple(after))


def write_modules(draft: Path, recipe: Recipe, model: Model, dtype: str) -> None:
    """Adds modules.json and what it lists to a Hugging Face folder. Raises ConfigError for what they cannot do."""
    steps: list[tuple[str, Any]] = [("Transformer", None), ("Pooling", _pooling(recipe.poolings, model.width))]
    for step in recipe.after:
        if not isinstance(step, Dense) and step is not normalise:
            raise ConfigError(f"model: {step!r} after pooling has no form in a sentence-transformers folder")
        steps.append(("Dense", step) if isinstance(step, Dense) else ("Normalize", None))
    entries = []
    for index, (kind, step) in enumerate(steps):
        directory = f"{index}_{kind}" if index else ""
        entries.append(
            {"idx": index, "name": str(index), "path": directory, "type": f"sentence_transformers.models.{kind}"}
        )
        (draft / directory).mkdir(exist_ok=True)
        if kind == "Pooling":
            write_json_atomic(draft / directory / "config.json", step)
        elif kind == "Dense":
            _write_dense(draft / directory, step, dtype)
    write_json_atomic(draft / MODULES, entries)
    length = min(recipe.max_length or model.context, model.context)
    write_json_atomic(
        draft / "sentence_bert_config.json", {"max_seq_length": length, "do_lower_case": recipe.lowercase}
    )
    write_json_atomic(
        draft / PROMPTS,
        {
            "model_type": "SentenceTransformer",
            "prompts": {"default": recipe.prompt} if recipe.prompt else {},
            "default_prompt_name": "default" if recipe.prompt else None,
            "similarity_fn_name": "cosine",
        },
    )


def _pooling(names: tuple[str, ...], width: int) -> dict[str, Any]:
    """The settings of pooling, as flags, which every release reads, or as a list where they would join the vectors in
    another order."""
    unknown = [name for name in names if name not in POOLINGS.values()]
    if unknown:
        raise ConfigError(
            f"pooling: {unknown[0]!r} has no form in a sentence-transformers folder; "
            f"known: {', '.join(POOLINGS.values())}"
        )
    if names == tuple(name for name in POOLINGS.values() if name in names):
        flags: dict[str, Any] = {f"pooling_mode_{theirs}": ours in names for theirs, ours in POOLINGS.items()}
        return {"word_embedding_dimension": width, **flags, "include_prompt": True}
    words = {ours: theirs for theirs, ours in MODES.items()}
    return {"embedding_dimension": width, "pooling_mode": [words[name] for name in names], "include_prompt": True}


def _write_dense(folder: Path, layer: Dense, dtype: str) -> None:
    out, width = layer.weight.shape
    arrays = {"linear.weight": np.ascontiguousarray(layer.weight)}
    if layer.bias is not None:
        arrays["linear.bias"] = layer.bias
    config = {"in_features": width, "out_features": out, "bias": layer.bias is not None}
    write_json_atomic(folder / "config.json", {**config, "activation_function": TORCH[layer.activation]})
    write_tensors(folder, {name: cast(name, array, dtype) for name, array in arrays.items()})
