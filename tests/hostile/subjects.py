"""Every format that a file may come in from outside: a sound one, and what reads it."""

import json
import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

import jaxgpt
from jaxgpt.evals.tasks import STS, Retrieval
from jaxgpt.interop.families.table import FAMILIES
from jaxgpt.interop.gguf.write import write_gguf
from jaxgpt.interop.hugging_face.export import write_folder
from jaxgpt.interop.hugging_face.tokenizer import read_codec
from jaxgpt.interop.peft.write import write_adapter
from jaxgpt.lab.question.file import load as load_experiment
from jaxgpt.models import BERT, GPT2, GPTJ, Gemma2, Llama
from jaxgpt.ops.pooling import Recipe
from jaxgpt.runs import ObjectiveRun
from jaxgpt.runs.checkpoint.checkpoint import save
from jaxgpt.runs.files.folder import RunDir, read_metrics
from jaxgpt.runs.files.lock import RunLock
from jaxgpt.runs.files.provenance import read_sources
from jaxgpt.runs.identity import claim
from jaxgpt.seal import read_result
from jaxgpt.spec import dump_yaml, load_yaml
from jaxgpt.text import BPE, ByteBPE, Codec, Data, WordPiece, prepare
from jaxgpt.text.batches.tokenfile import open_token_file
from jaxgpt.text.tokenizers.byte import Byte
from jaxgpt.text.tokenizers.saved import load_codec
from jaxgpt.train.state import State

TEXT = "the quick brown fox jumps over the lazy dog; naïve, isn't it?\n" * 40
PROBE = ["the lazy fox", "", "a\u0301 \U0001f642"]
SIZE: dict[str, Any] = {"num_layers": 1, "d_model": 8, "num_heads": 2, "context": 16, "vocab_size": 300}


class Subject(NamedTuple):
    """A folder of sound files, of which one at a time is attacked."""

    build: Callable[[Path], None]
    read: Callable[[Path], object]
    files: tuple[str, ...]
    writes: bool = False
    """Whether reading changes the folder, so that each attack wants a fresh copy."""
    large: bool = False
    """Whether the file may rightly be of any size."""
    elsewhere: bool = False
    """Whether test_data.py and test_vocabularies.py mutate it, in more ways."""


def draw(model: Any, seed: int = 0) -> Any:
    """Random weights of a model."""
    import jax

    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: rng.normal(0, 0.2, leaf.shape).astype(leaf.dtype), model.shapes())


def tried(codec: Codec | None) -> None:
    """A vocabulary that was read must be of use, too."""
    if codec is not None:
        for ids in codec.encode_batch(PROBE):
            codec.decode(ids)


def loaded(path: Path) -> None:
    tried(jaxgpt.load(path).codec)


# --- runs --------------------------------------------------------------------------------------------------------


def run_of() -> ObjectiveRun:
    tree = {
        "model": {"kind": "gpt2", **SIZE, "vocab_size": 257},
        "tokenizer": "byte",
        "data": {"corpus": "text.txt"},
        "batch_size": 8,
        "steps": 20,
        "optim": {"kind": "adamw", "lr": 1e-2},
    }
    return ObjectiveRun.model_validate(tree)


def build_run(folder: Path) -> None:
    run = run_of()
    (folder / "text.txt").write_text(TEXT)
    params = draw(run.model)
    state = State(jnp.int32(2), params, {}, None)
    for step in (1, 2):
        save(folder / "ckpt", step, state, {"step": step, "run": run.settings()}, best=step == 2)
    Byte().train(lambda: ()).save(folder / "tokenizer")
    (folder / "config.yaml").write_text(dump_yaml(run))
    (folder / "run.lock").write_text(json.dumps({"pid": 12, "host": "elsewhere", "since": "2026-01-01 00:00:00"}))
    (folder / "provenance.json").write_text(json.dumps({"corpus_sha256": "0" * 64, "tokenizer_digest": "1" * 64}))
    with RunDir(folder) as log:
        for step in (1, 2, 20):
            log.metrics({"step": step, "tokens": 8 * step, "train/loss": 2.0})
        log.event("start", step=0)
        log.status(status="finished", step=20)
        log.result(status="finished", step=20, **{"val/loss": 2.0})


def trainer(folder: Path) -> None:
    """What `jaxgpt train` reads of a run's folder before it trains on."""
    with RunLock(folder):
        read_sources(folder)
        claim(run_of(), folder)
        if read_result(folder) is None:
            with RunDir(folder, 2):
                pass
        read_metrics(folder)


# --- configs, experiments ------------------------------------------------------------------------------------------


def build_config(folder: Path) -> None:
    (folder / "config.yaml").write_text(f"# A comment.\n_common: &width {{d: 1}}\n{dump_yaml(run_of())}")
    (folder / "experiment.py").write_text(
        "from jaxgpt.lab import Experiment\n\nexperiment = Experiment(\n"
        '    question="Does it matter?",\n    base="config.yaml",\n'
        '    arms={"a": {}, "b": {"model.position": "rotary"}},\n    baseline="a",\n    seeds=2,\n)\n'
    )


# --- text ------------------------------------------------------------------------------------------------------------


def build_text(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    sentences = [f"line {i} of the text, which is short" for i in range(60)]
    (folder / "a.txt").write_text(TEXT)
    (folder / "a.jsonl").write_text(
        "".join(json.dumps({"text": text, "n": i}) + "\n" for i, text in enumerate(sentences))
    )
    pa.parquet.write_table(pa.table({"text": sentences}), folder / "a.parquet")
    for name, mark in (("a.csv", ","), ("a.tsv", "\t")):
        (folder / name).write_text("".join(f'"{text}"{mark}"{text}!"\n' for text in sentences))
    for name, mark in (("sts.csv", ","), ("sts.tsv", "\t")):
        rows = [f'"{a}"{mark}"{b}"{mark}{i % 6}\n' for i, (a, b) in enumerate(pairwise(sentences))]
        (folder / name).write_text("".join(rows))
    scored = [{"sentence1": a, "sentence2": a, "score": i % 6} for i, a in enumerate(sentences)]
    (folder / "sts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in scored))
    (folder / "pairs.tsv").write_text("".join(f"{a}\t{a}!\n" for a in sentences))


def corpus(name: str, **fields: Any) -> Callable[[Path], object]:
    def read(folder: Path) -> None:
        data = Data(corpus=str(folder / name), val_fraction=0.2, **fields)
        prepared = prepare(data, Byte(), 8, folder / "cache", quiet=True)
        prepared.batch(0, 0, 4)

    return read


def learned(folder: Path) -> None:
    """A vocabulary learned from the text, whatever it is."""
    data = Data(corpus=str(folder / "a.txt"), val_fraction=0.2)
    tried(prepare(data, ByteBPE(vocab_size=270), 8, folder / "cache", quiet=True).codec)


def build_tokens(folder: Path) -> None:
    (folder / "a.txt").write_text(TEXT)
    corpus("a.txt")(folder)
    (tokens,) = (folder / "cache" / "tokens").glob("*")
    tokens.rename(tokens.with_name("made"))


def tokens(folder: Path) -> None:
    open_token_file(folder / "cache" / "tokens" / "made" / "train.tokens", 257)


# --- tokenizers ------------------------------------------------------------------------------------------------------


def build_tokenizers(folder: Path) -> None:
    corpus_of = lambda: [TEXT]  # noqa: E731
    byte_level, words = ByteBPE(vocab_size=300).train(corpus_of), WordPiece(vocab_size=60).train(corpus_of)
    plain = BPE(vocab_size=60).train(corpus_of)
    for name, codec in (("byte_bpe", byte_level), ("wordpiece", words), ("bpe", plain)):
        codec.save(folder / name)
    model = json.loads(byte_level.tokenizer_json())["model"]
    old = folder / "old"
    old.mkdir()
    (old / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in model["merges"]]
    (old / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    (old / "added_tokens.json").write_text(json.dumps({"<pad>": len(model["vocab"])}))
    (old / "special_tokens_map.json").write_text(json.dumps({"eos_token": "<pad>", "bos_token": {"content": "<pad>"}}))
    (old / "tokenizer_config.json").write_text(json.dumps({"add_bos_token": True, "model_max_length": 16}))
    cased = folder / "words"
    cased.mkdir()
    vocab = json.loads(words.tokenizer_json())["model"]["vocab"]
    (cased / "vocab.txt").write_text("\n".join(sorted(vocab, key=vocab.get)) + "\n")
    published = folder / "published"
    published.mkdir()
    (published / "encoder.json").write_text((old / "vocab.json").read_text())
    (published / "vocab.bpe").write_text((old / "merges.txt").read_text())


def saved(name: str) -> Callable[[Path], object]:
    return lambda folder: tried(load_codec(folder / name))


def older(name: str) -> Callable[[Path], object]:
    return lambda folder: tried(read_codec(folder / name, {}))


def by_path(name: str) -> Callable[[Path], object]:
    return lambda folder: tried(ByteBPE(path=str(folder / name)).train(lambda: ()))


# --- other libraries' checkpoints ------------------------------------------------------------------------------------


def build_hugging_face(folder: Path) -> None:
    model = GPT2(**SIZE)
    codec = ByteBPE(vocab_size=300).train(lambda: [TEXT])
    templates = {"default": "{{ messages }}", "tool": "x"}
    write_folder(folder / "whole", model, draw(model), codec, {"eos_token_id": 1}, chat_templates=templates)
    write_folder(folder / "shards", model, draw(model), shard_bytes=2000)


def build_adapter(folder: Path) -> None:
    model = GPT2(**SIZE, adapter={"kind": "lora", "rank": 2, "fused_qkv": True, "targets": ["attention/"]})
    params = draw(model)
    below = {path: leaf for path, leaf in flatten_dict(params, sep="/").items() if "/adapter/" not in path}
    write_folder(folder / "base", model.evolve(adapter=None), unflatten_dict(below, sep="/"))
    write_adapter(folder / "adapter", model, params, below, "base")


def build_families(folder: Path) -> None:
    for family in FAMILIES:
        size = {name: value for name, value in SIZE.items() if name != "context"}
        if family.kind is GPTJ:  # turns 64 channels of a head, of which there are four here
            size["position"] = GPTJ.model_fields["position"].default.evolve(width=4)
        if family.kind is Gemma2:
            size["embed_scale"] = size["d_model"] ** 0.5
        model = family.kind(**size)
        write_folder(folder / family.model_type, model, draw(model))


def build_sentences(folder: Path) -> None:
    model = BERT(**{**SIZE, "vocab_size": 60}, masked_head=False)
    codec = WordPiece(vocab_size=60).train(lambda: [TEXT])
    write_folder(folder / "model", model, draw(model), codec, recipe=Recipe(("mean",)))


def build_gguf(folder: Path) -> None:
    codec = ByteBPE(vocab_size=300).train(lambda: [TEXT])
    for name, kind in (("llama", Llama), ("gpt2", GPT2)):
        model = kind(**SIZE)
        write_gguf(folder / f"{name}.gguf", model, draw(model), codec, {"eos_token_id": 1}, "float32", {})


def build_llama2c(folder: Path) -> None:
    dim, hidden, layers, heads, size, context = 8, 16, 1, 2, 262, 12
    each = [dim, dim * dim, dim * dim, dim * dim, dim * dim, dim, hidden * dim, dim * hidden, hidden * dim]
    count = size * dim + layers * sum(each) + dim + 2 * context * (dim // heads // 2)
    weights = np.random.default_rng(0).normal(0, 0.2, count).astype("<f4")
    head = struct.pack("<7i", dim, hidden, layers, heads, heads, size, context)
    (folder / "model.bin").write_bytes(head + weights.tobytes())
    pieces = ["<unk>", "\n<s>\n", "\n</s>\n", *(f"<0x{byte:02X}>" for byte in range(256)), " ", "a", " a"]
    body = b"".join(struct.pack("<fi", -i, len(text)) + text.encode() for i, text in enumerate(pieces))
    (folder / f"tok{size}.bin").write_bytes(struct.pack("<I", 6) + body)


def at(name: str) -> Callable[[Path], object]:
    return lambda folder: loaded(folder / name)


def files_of(*names: str, under: str = "") -> tuple[str, ...]:
    return tuple(f"{under}/{name}" if under else name for name in names)


STEP = "ckpt/step_00000002"
SUBJECTS: dict[str, Subject] = {
    "config": Subject(build_config, lambda f: load_yaml(ObjectiveRun, f / "config.yaml"), ("config.yaml",)),
    "experiment": Subject(build_config, lambda f: load_experiment(f / "experiment.py"), ("experiment.py",)),
    "run": Subject(
        build_run,
        loaded,
        files_of(
            "config.yaml",
            "ckpt/best.json",
            f"{STEP}/manifest.json",
            f"{STEP}/arrays/manifest.ocdbt",
            f"{STEP}/arrays/_METADATA",
            "tokenizer/tokenizer_config.json",
        ),
    ),
    "run's files": Subject(
        build_run,
        trainer,
        files_of(
            "config.yaml", "metrics.jsonl", "events.jsonl", "result.json", "seal.json", "provenance.json", "run.lock"
        ),
        writes=True,
    ),
    "txt": Subject(build_text, corpus("a.txt"), ("a.txt",), writes=True, large=True, elsewhere=True),
    "jsonl": Subject(build_text, corpus("a.jsonl"), ("a.jsonl",), writes=True, large=True, elsewhere=True),
    "parquet": Subject(build_text, corpus("a.parquet"), ("a.parquet",), writes=True, large=True, elsewhere=True),
    "csv": Subject(build_text, corpus("a.csv", columns=2), ("a.csv",), writes=True, large=True, elsewhere=True),
    "tsv": Subject(build_text, corpus("a.tsv", columns=2), ("a.tsv",), writes=True, large=True, elsewhere=True),
    "learned vocabulary": Subject(build_text, learned, ("a.txt",), writes=True, large=True, elsewhere=True),
    "sts csv": Subject(
        build_text, lambda f: STS(path=str(f / "sts.csv")).opened(), ("sts.csv",), large=True, elsewhere=True
    ),
    "sts tsv": Subject(
        build_text, lambda f: STS(path=str(f / "sts.tsv")).opened(), ("sts.tsv",), large=True, elsewhere=True
    ),
    "sts jsonl": Subject(
        build_text, lambda f: STS(path=str(f / "sts.jsonl")).opened(), ("sts.jsonl",), large=True, elsewhere=True
    ),
    "retrieval": Subject(
        build_text, lambda f: Retrieval(path=str(f / "pairs.tsv")).opened(), ("pairs.tsv",), large=True
    ),
    "token file": Subject(build_tokens, tokens, ("cache/tokens/made/train.tokens",), elsewhere=True),
    **{
        f"{name} vocabulary": Subject(
            build_tokenizers,
            saved(name),
            files_of("tokenizer.json", "tokenizer_config.json", under=name),
            elsewhere=True,
        )
        for name in ("byte_bpe", "wordpiece", "bpe")
    },
    "older vocabulary": Subject(
        build_tokenizers,
        older("old"),
        files_of(
            "vocab.json",
            "merges.txt",
            "added_tokens.json",
            "special_tokens_map.json",
            "tokenizer_config.json",
            under="old",
        ),
        elsewhere=True,
    ),
    "vocab.txt": Subject(build_tokenizers, older("words"), ("words/vocab.txt",), elsewhere=True),
    "published vocabulary": Subject(
        build_tokenizers, by_path("published"), files_of("encoder.json", "vocab.bpe", under="published"), elsewhere=True
    ),
    "tokenizer.path": Subject(
        build_tokenizers, by_path("byte_bpe/tokenizer.json"), ("byte_bpe/tokenizer.json",), elsewhere=True
    ),
    "hugging face": Subject(
        build_hugging_face,
        at("whole"),
        files_of(
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
            "special_tokens_map.json",
            under="whole",
        ),
    ),
    "shards": Subject(build_hugging_face, at("shards"), ("shards/model.safetensors.index.json",)),
    "adapter": Subject(
        build_adapter,
        lambda f: jaxgpt.load(f / "base", adapter=f / "adapter"),
        ("adapter/adapter_config.json", "adapter/adapter_model.safetensors"),
    ),
    **{
        f"{family.model_type}": Subject(build_families, at(family.model_type), (f"{family.model_type}/config.json",))
        for family in FAMILIES
    },
    "sentence-transformers": Subject(
        build_sentences,
        at("model"),
        files_of(
            "modules.json",
            "config_sentence_transformers.json",
            "sentence_bert_config.json",
            "1_Pooling/config.json",
            under="model",
        ),
    ),
    "gguf llama": Subject(build_gguf, at("llama.gguf"), ("llama.gguf",)),
    "gguf gpt2": Subject(build_gguf, at("gpt2.gguf"), ("gpt2.gguf",)),
    "llama2.c": Subject(build_llama2c, at("model.bin"), ("model.bin", "tok262.bin")),
}
