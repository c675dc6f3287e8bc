"""A PEFT folder, written: what PeftModel.from_pretrained(base, folder) loads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from jaxgpt.disk import new_folder, write_json_atomic
from jaxgpt.interop.families.table import by_model
from jaxgpt.interop.finite import cast
from jaxgpt.interop.peft.config import CONFIG, WEIGHTS
from jaxgpt.interop.peft.ia3 import write_ia3
from jaxgpt.interop.peft.lora import write_lora
from jaxgpt.interop.peft.modules import Modules
from jaxgpt.interop.peft.saved import OUTPUT, TABLE, write_saved
from jaxgpt.interop.peft.virtual import write_virtual
from jaxgpt.interop.safetensors import write_file
from jaxgpt.models.transformer import Transformer
from jaxgpt.nn.task_head import TaskHead
from jaxgpt.peft import IA3, LoRA, Prefix, Prompt
from jaxgpt.spec import ConfigError

JOINED = (
    "queries, keys and values have an A each, and PEFT one for all three: it got the rows of all, and B zeros where a "
    "part did not see them; no output changes"
)


def write_adapter(
    target: Path,
    model: Any,
    params: Mapping[str, Any],
    base: Mapping[str, np.ndarray],
    origin: str | None,
    dtype: str = "float32",
) -> list[str]:
    """Writes `target`, whole or not at all, and returns what is worth a note: adapter_config.json and the weights in
    `dtype` of the model's adapter, and of all that differs from `base`, the leaves below it by path.

    `origin`: what the base is called there. Raises ConfigError with one line for everything that PEFT's files cannot
    express, and JaxgptError when `target` is there or cannot be written.
    """
    if not isinstance(model, Transformer) or model.adapter is None:
        raise ConfigError("model.adapter: null; there is no adapter to write")
    adapter, params = model.adapter.finished(params)
    family = by_model(model.evolve(adapter=None, **_without_heads(model)))
    fuller: Any
    fuller, params = family.fill(model.evolve(adapter=adapter), params)
    leaves = {path: np.asarray(leaf) for path, leaf in flatten_dict(params, sep="/").items()}
    names, changed = family.names(fuller), _changed(leaves, base)
    if TABLE in changed and getattr(fuller, "tied", False):  # PEFT unties the two where one is saved
        leaves[OUTPUT] = leaves[TABLE].T
        changed.add(OUTPUT)
    modules = Modules.of(names, leaves, fuller.depth)
    notes: list[str] = []
    front = "base_model.model."
    if isinstance(adapter, LoRA):
        config, tensors, joined = write_lora(adapter, modules, leaves)
        kind, notes = "LORA", [JOINED] * joined
    elif isinstance(adapter, IA3):
        (config, tensors), kind = write_ia3(adapter, modules, leaves), "IA3"
    elif isinstance(adapter, Prefix | Prompt):
        config, tensors = write_virtual(adapter, fuller, leaves)
        kind, front = ("PREFIX_TUNING" if isinstance(adapter, Prefix) else "PROMPT_TUNING"), "base_model."
    else:
        raise ConfigError(
            f"model.adapter: PEFT's files have no place for {adapter.kind!r}, only for lora, ia3, prefix, prompt"
        )
    saved = write_saved(names, modules, changed, leaves)
    if saved.biases and kind != "LORA":
        raise ConfigError(f"trainable: PEFT's files hold single biases beside lora alone, not beside {adapter.kind}")
    if kind in ("LORA", "IA3"):
        bare = {module.name for module in modules.all if module.row.bare}
        tensors = {_prefixed(name, bare, names.prefix): array for name, array in tensors.items()}
        tensors = {front + name: array for name, array in tensors.items()}
    tensors |= {front + name: array for name, array in saved.tensors.items()}
    config |= {"bias": "all" if saved.biases else "none"} if kind == "LORA" else {}
    about = {
        "peft_type": kind,
        "task_type": _task(fuller),
        "base_model_name_or_path": origin,
        "revision": None,
        "inference_mode": True,
        "modules_to_save": saved.modules or None,
    }
    with new_folder(target) as draft:
        write_json_atomic(draft / CONFIG, about | config)
        write_file(draft / WEIGHTS, {name: np.ascontiguousarray(cast(name, a, dtype)) for name, a in tensors.items()})
    return notes


def _without_heads(model: Transformer) -> dict[str, Any]:
    """What no family need have to name the parts of a body."""
    return {} if model.text_head is None or isinstance(model.text_head, TaskHead) else {"text_head": None}


def _prefixed(name: str, bare: set[str], prefix: str) -> str:
    return name if any(name.startswith(f"{module}.") for module in bare) else prefix + name


def _changed(leaves: Mapping[str, np.ndarray], base: Mapping[str, np.ndarray]) -> set[str]:
    """Paths of what is not as the base has it: not its own adapter, and not a bias of zero that the class adds."""
    own = {path: leaf for path, leaf in leaves.items() if "/adapter/" not in path}
    base = {OUTPUT: base[TABLE].T, **base} if TABLE in base else base  # what a tied output is
    added = {path for path, leaf in own.items() if path not in base and path.endswith("/bias") and not leaf.any()}
    heads = {path for path in added if path.startswith("text_head/")}
    return {
        path
        for path, leaf in own.items()
        if path not in added - heads and (path not in base or not np.array_equal(leaf, base[path]))
    }


def _task(model: Any) -> str | None:
    if isinstance(model.text_head, TaskHead):
        return "SEQ_CLS"
    return "CAUSAL_LM" if model.continues else None
