"""A small GPT-2's folder, and runs that trained a part of it."""

import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

import jaxgpt
from jaxgpt.interop.hugging_face.export import write_folder
from jaxgpt.models import GPT2
from jaxgpt.runs.checkpoint.checkpoint import save
from jaxgpt.runs.trainable import frozen_digest, split_params
from jaxgpt.spec import dump_yaml
from jaxgpt.text.tokenizers.byte import ByteCodec

SIZE = {"num_layers": 2, "d_model": 16, "num_heads": 2, "vocab_size": 257, "context": 16}


@pytest.fixture(scope="module")
def base(weights, tmp_path_factory):
    """A Hugging Face folder."""
    out, model = tmp_path_factory.mktemp("base") / "base", GPT2(**SIZE)
    write_folder(out, model, weights(model), ByteCodec())
    return out


@pytest.fixture(scope="module")
def adapted(little, weights, base, tmp_path_factory):
    """`adapted(seed, **fields)`: the folder of a run that trained what the fields say of `base`, or of `start`."""

    def write(seed=1, start=base, **fields):
        out = tmp_path_factory.mktemp("adapted") / "run"
        out.mkdir()
        sizes = {f"model.{name}": size for name, size in SIZE.items()}
        run = little(**(sizes | {"start": str(start)} | fields))
        (out / "config.yaml").write_text(dump_yaml(run))
        ByteCodec().save(out / "tokenizer")
        own, frozen = split_params(weights(run.model, seed), run.trained)
        below = flatten_dict(jaxgpt.load(start).params, sep="/")
        stored = {path: run.storage.store(path, below[path]) for path in flatten_dict(frozen, sep="/")}
        digest = frozen_digest(unflatten_dict(stored, sep="/"))
        save(out / "ckpt", 1, {"params": own}, {"sources": {"start": digest}})
        return out

    return write
