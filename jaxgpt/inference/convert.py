"""From one format to another: a run or another library's checkpoint in, a Hugging Face folder or a GGUF file out."""

import json
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from jaxgpt.disk import resolve
from jaxgpt.inference.adapter_files import load_adapted, merged, write_peft
from jaxgpt.inference.adapters import is_peft, is_run
from jaxgpt.inference.device_weights import DTYPES
from jaxgpt.inference.loaded import Loaded
from jaxgpt.interop.families.table import by_model
from jaxgpt.interop.hugging_face.export import NF4, padding, write_folder
from jaxgpt.interop.recognize import read_source
from jaxgpt.interop.sentence_transformers.export import strip_head
from jaxgpt.models import Model
from jaxgpt.ops.stored import as_arrays
from jaxgpt.spec import ConfigError
from jaxgpt.spec.arguments import choice, instance
from jaxgpt.terminal import Watch, say

NO_FOLDER = (".safetensors", ".bin", ".pt", ".pth", ".npz", ".npy", ".zip", ".json", ".yaml", ".onnx", ".msgpack")
"""Endings of single files that are not written."""
REPLACED = ("qwen2",)
"""Families whose tokenizer transformers 5 rebuilds from the vocabulary alone."""


def convert(
    source: str | Path, target: str | Path, dtype: str = "float32", best: bool = True, merge: bool = False
) -> None:
    """Writes the model at `source` (what `jaxgpt.load` reads) to `target`, whole or not at all, in `dtype`: that of
    all weights, or `nf4`, in which a folder's projections are as bitsandbytes has them, the rest in float32.

    `target` is a `.gguf` file for families that GGUF has here, else a Hugging Face folder, and must not be there. A
    model that makes vectors of texts, by its head or by its recipe, becomes a sentence-transformers folder. A run that
    trained an adapter becomes a folder of PEFT's; with `merge` it is a model with the adapter in its weights, and so is
    a folder of PEFT's, on the base that it names.

    Raises ConfigError and JaxgptError with one line for everything that does not fit.
    """
    choice("dtype", dtype, (*DTYPES, NF4))
    instance("best", best, "True or False", bool)
    instance("merge", merge, "True or False", bool)
    source, target = resolve(source), resolve(target)
    if target.suffix in NO_FOLDER:
        raise ConfigError(f"{target}: expected a folder, or a file that ends in .gguf")
    if target.exists() and not (target.is_dir() and target.suffix != ".gguf" and not any(target.iterdir())):
        raise ConfigError(f"{target}: is there already and is not written over; remove it, or choose another name")
    numbers = "float32" if dtype == NF4 else dtype
    if is_run(source) or is_peft(source):
        loaded = load_adapted(source, best)
        if loaded.model.adaptation is not None and not merge:
            for note in write_peft(loaded, target, numbers):
                say(f"note: {note}")
            return
        if merge:
            loaded, line = merged(loaded, dtype)
            say(line)
        loaded = _whole(source, loaded)
    elif merge:
        raise ConfigError(f"--merge: {source} has no adapter; leave it out")
    else:
        loaded = _read(source, numbers)
    size = loaded.model.count() * (0.5 if dtype == NF4 else jnp.dtype(dtype).itemsize) / 1e6
    with Watch("write", total=size, unit="MB") as watch:
        if target.suffix == ".gguf":
            from jaxgpt.interop.gguf.write import write_gguf

            if dtype == NF4:
                raise ConfigError("dtype: nf4 is a Hugging Face folder's; GGUF has other 4-bit types, not written here")
            if loaded.recipe is not None:
                raise ConfigError(f"{target}: GGUF has no place for how texts become vectors; write a folder")
            if loaded.model.text_head is not None:
                raise ConfigError(f"{target}: GGUF has no place for a text head; write a folder")
            written = write_gguf(
                target, loaded.model, loaded.params, loaded.codec, loaded.generation, dtype, loaded.chat_templates
            )
        else:
            written = write_folder(
                target,
                loaded.model,
                loaded.params,
                loaded.codec,
                loaded.generation,
                dtype,
                progress=lambda written: watch.update(written / 1e6),
                recipe=loaded.recipe,
                chat_templates=loaded.chat_templates,
            )
    for note in _notes(loaded, target, written):
        say(f"note: {note}")


def _whole(source: Path, run: Loaded) -> Loaded:
    """A run's model in host memory: its parameters are numpy's."""
    if run.run is not None and run.run.objective.arrangement == "both_orders":
        raise ConfigError(
            f"{source}: objective {run.run.objective.kind} adds up both orders of a pair, which no class of other "
            "libraries does; train on pairs by objective regress"
        )
    model, params, recipe = strip_head(run.model, jax.tree.map(np.asarray, as_arrays(run.params)))
    return replace(run, model=model, params=params, recipe=run.recipe if recipe is None else recipe)


def _read(source: Path, dtype: str) -> Loaded:
    """Another library's model in host memory: its parameters are numpy's."""
    opened = read_source(source)
    done = 0.0
    with Watch("read", total=opened.model.count() * jnp.dtype(dtype).itemsize / 1e6, unit="MB") as watch:

        def put(name: str, leaf: np.ndarray) -> np.ndarray:
            nonlocal done
            done += leaf.nbytes / 1e6
            watch.update(done)
            return leaf

        params = opened.read(dtype, put)
    rest = opened.generation, opened.recipe, opened.chat_templates
    return Loaded(opened.model, opened.model, params, opened.codec, dtype, *rest)


def _notes(loaded: Loaded, target: Path, written: Model) -> list[str]:
    """What the target cannot hold, and would be lost or added without a word. `written`: the model it holds."""
    notes = []
    ours, theirs = (set(flatten_dict(model.shapes(), sep="/")) for model in (loaded.model, written))
    if theirs - ours:
        notes.append(
            "biases of zero were added, which this class always has: no number changes, and it loads with them"
        )
    heads = loaded.model.text_head, written.text_head
    if heads[0] != heads[1]:
        notes.append("bias and scale of the task's output lie in the weights that this class has: it answers alike")
    if (loaded.model.continues or loaded.model.fills_in) and not (written.continues or written.fills_in):
        notes.append("the output over the vocabulary was left out, which this class does not have")
    judges = written.text_head is not None and written.text_head.judges
    if judges and written.pooling == "last" and (loaded.codec is None or padding(loaded.codec) is None):
        notes.append("there is no token to fill rows up with, so transformers reads one text at a time")
    replaced = target.suffix != ".gguf" and by_model(written).model_type in REPLACED
    if replaced and loaded.codec and json.loads(loaded.codec.tokenizer_json())["pre_tokenizer"] is None:
        name = "transformers.PreTrainedTokenizerFast"
        notes.append(f"AutoTokenizer puts the family's own tokenizer in place of this one; load it by {name}")
    return notes
