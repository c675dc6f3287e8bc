"""From specs to token files: find the text, learn the vocabulary, encode once, reuse by digest."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxgpt.disk import cache_dir, clear_drafts
from jaxgpt.spec import ConfigError, canonical, digest
from jaxgpt.text.batches.arrangement import PLAIN, RowPlan
from jaxgpt.text.batches.data import Data
from jaxgpt.text.batches.stream_batches import StreamBatches
from jaxgpt.text.batches.text_batches import RowFiles, prepare_texts, read_rows
from jaxgpt.text.batches.tokenfile import TokenFile, TokenWriter, open_token_file
from jaxgpt.text.batches.training_data import TrainingData
from jaxgpt.text.batches.window_batches import WindowBatches, spelled
from jaxgpt.text.corpora.corpus import Corpus, Document, is_held_out
from jaxgpt.text.corpora.named import open_corpus
from jaxgpt.text.tokenizers.codec import Codec
from jaxgpt.text.tokenizers.cut import LONGEST, between_words
from jaxgpt.text.tokenizers.saved import load_codec
from jaxgpt.text.tokenizers.tokenizer import Tokenizer

VAL_FIELD = "data.val_corpus"
CHUNK = LONGEST
"""Characters encoded at a time: enough to keep all cores busy, little enough to hold in memory."""


def prepare(
    data: Data,
    tokenizer: Tokenizer,
    seq_len: int,
    cache: Path | None = None,
    quiet: bool = False,
    codec: Codec | None = None,
    plan: RowPlan = PLAIN,
    rows: int = 1,
) -> TrainingData:
    """Token files for `data`, built or reused, checked, and ready to batch.

    `seq_len` is the model's context, used where `data.seq_len` is None. `cache` defaults to the folder JAXGPT_CACHE,
    else ~/.cache/jaxgpt. A trained vocabulary and its ids are kept there under the digest of all they depend on, so a
    changed corpus or spec never meets an old file. A `codec` takes the place of `tokenizer`. `plan`: what
    the objective asks of its batches. `rows`: of a batch, each a stream where `data.streams`. Raises ConfigError, one
    line, on any bad input.
    """
    cache = cache or cache_dir()
    length = data.seq_len or seq_len
    sources = data.sources
    corpora = [open_corpus(source.corpus, data.text_field, data.val_fraction) for source in sources]
    hashes = [corpus.hash() for corpus in corpora]
    val_corpus = None if data.val_corpus is None else open_corpus(data.val_corpus, data.text_field, 1, VAL_FIELD)
    if val_corpus is not None:
        if (val_hash := val_corpus.hash()) in hashes:
            raise ConfigError(f"{VAL_FIELD}: '{data.val_corpus}' is what data.corpus trains on; give another text")
        hashes.append(val_hash)
    rules: dict[str, object] = {"val_fraction": data.val_fraction, "text_field": data.text_field}
    if data.texts:
        rules |= {"columns": data.columns, "apart": data.apart}
    learned = [*corpora, *([val_corpus] if val_corpus is not None and tokenizer.covers_held_out else [])]
    codec = codec or _codec(
        tokenizer,
        learned,
        cache / "tokenizers" / digest([canonical(tokenizer), hashes, rules], 16),
        data,
        plan.arrangement == "candidates",
        quiet,
    )
    if data.texts:
        return prepare_texts(data, plan, codec, RowFiles(corpora, val_corpus, hashes), length)
    starts_V = None if plan.words is None else codec.word_starts(plan.words)
    train, val = [], []
    for corpus, corpus_hash in zip(corpora, hashes, strict=False):
        files = _token_files(
            corpus, codec, cache, digest({"corpus": corpus_hash, "codec": codec.digest, **rules}, 64), quiet
        )
        train.append(files.train)
        val.append(files.val)
        _check_sizes(corpus, *files, length, data)
    if val_corpus is not None:
        whole = {"corpus": hashes[-1], "codec": codec.digest, **rules, "val_fraction": 1}
        val = [_token_files(val_corpus, codec, cache, digest(whole, 64), quiet).val]
        if len(val[0].ids_N) < 2:
            raise ConfigError(f"{VAL_FIELD}: '{data.val_corpus}' has no two tokens to predict one of; give more text")

    if data.streams:
        return StreamBatches(
            codec=codec,
            corpus_hash=hashes[0],
            train_tokens=len(train[0].ids_N),
            val_tokens=sum(_val_limits(data, val, codec)),
            seq_len=length,
            streams=rows,
            shuffle=data.shuffle,
            train=train[0],
            val=val[0],
        )
    return WindowBatches(
        codec=codec,
        corpus_hash=hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest(),
        train_tokens=sum(len(file.ids_N) for file in train),
        val_tokens=sum(limits := _val_limits(data, val, codec)),
        seq_len=length,
        separate=data.documents == "separate",
        shuffle=data.shuffle,
        weights=tuple(source.weight for source in sources),
        train=tuple(train),
        val=tuple(val),
        val_limits=limits,
        starts_V=starts_V,
    )


class _Files(NamedTuple):
    train: TokenFile
    val: TokenFile


def _token_files(corpus: Corpus, codec: Codec, cache: Path, made_of: str, quiet: bool) -> _Files:
    folder = cache / "tokens" / made_of[:16]
    if not ((folder / "train.tokens").exists() and (folder / "val.tokens").exists()):
        _encode(corpus, codec, folder, made_of, quiet)
    return _Files(*(open_token_file(folder / f"{name}.tokens", codec.vocab_size, made_of) for name in _Files._fields))


def _codec(tokenizer: Tokenizer, corpora: list[Corpus], folder: Path, data: Data, spread: bool, quiet: bool) -> Codec:
    if not tokenizer.needs_text:
        return tokenizer.train(lambda: ())
    if not (folder / "tokenizer_config.json").exists():  # the last file that `save` writes
        from jaxgpt.terminal import Watch

        def texts() -> Iterable[str]:
            for corpus in corpora:
                if data.texts:
                    rows = read_rows(corpus, data, spread)
                    keep = data.val_fraction if not tokenizer.covers_held_out else 0.0
                    yield from (text for row in rows if not is_held_out(row.texts[0], keep) for text in row.texts)
                    continue
                with Watch(f"read {corpus.name}", total=100, unit="%", quiet=quiet) as watch:
                    for piece in _pieces(corpus.documents(), between_words):
                        if piece.text and (tokenizer.covers_held_out or not piece.held_out):
                            yield piece.text
                        watch.update(100 * piece.progress)

        clear_drafts(folder.parent)
        tokenizer.train(texts).save(folder)
    return load_codec(folder)


def _encode(corpus: Corpus, codec: Codec, folder: Path, made_of: str, quiet: bool) -> None:
    from jaxgpt.terminal import Watch

    clear_drafts(folder.parent)
    eot = np.array([] if codec.eot is None else [codec.eot], np.int64)
    with (
        TokenWriter(folder / "val.tokens", codec.vocab_size, made_of) as val,
        TokenWriter(folder / "train.tokens", codec.vocab_size, made_of) as train,
        Watch(f"encode {corpus.name}", total=100, unit="%", quiet=quiet) as watch,
    ):
        for chunk in _chunks(_pieces(corpus.documents(), codec.parts)):
            for piece, ids in zip(chunk, codec.arrays([piece.text for piece in chunk]), strict=True):
                writer = val if piece.held_out else train
                writer.add(ids, ends=False)
                if piece.ends:
                    writer.add(eot)
            watch.update(100 * chunk[-1].progress)


class _Piece(NamedTuple):
    text: str
    held_out: bool
    ends: bool
    """Whether its document ends with it."""
    progress: float
    """How far through the corpus it ends, from 0 to 1."""


def _pieces(documents: Iterable[Document], parts: Callable[[str], Iterable[str]]) -> Iterator[_Piece]:
    """Documents, large ones in parts: one great file is encoded on all cores and in little memory."""
    before = 0.0
    for text, held_out, progress in documents:
        read = 0
        for part in parts(text):
            read += len(part)
            share = min(read / len(text), 1.0)
            yield _Piece(part, held_out, False, before + share * (progress - before))
        yield _Piece("", held_out, True, progress)
        before = progress


def _chunks(pieces: Iterable[_Piece]) -> Iterator[list[_Piece]]:
    chunk, size = list[_Piece](), 0
    for piece in pieces:
        chunk.append(piece)
        size += len(piece.text)
        if size >= CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _check_sizes(corpus: Corpus, train: TokenFile, val: TokenFile, length: int, data: Data) -> None:
    if len(train.ids_N) <= length:
        raise ConfigError(
            f"data.corpus: '{corpus.name}' has {len(train.ids_N)} training tokens, fewer than one row of {length} and "
            "its target; give more text or lower data.seq_len"
        )
    if data.val_fraction and len(val.ids_N) < 2:
        raise ConfigError(
            f"data.val_fraction: {data.val_fraction} holds out none of the {len(train.starts_D)} documents of "
            f"'{corpus.name}'; raise it, or set 0 to train without validation"
        )


def _val_limits(data: Data, val: list[TokenFile], codec: Codec) -> tuple[int, ...]:
    """How many held-out tokens to predict from each source: all but the first one, or its share of `val_tokens` or of
    `val_bytes`."""
    weights = [source.weight for source in data.sources] if data.val_corpus is None else [1.0]
    shares = [round((data.val_bytes or data.val_tokens or 2**62) * weight / sum(weights)) for weight in weights]
    if data.val_bytes is not None:
        bytes_V = spelled(codec)
        if bytes_V is None:
            raise ConfigError(
                "data.val_bytes: this tokenizer does not keep every byte of the text; use data.val_tokens, or the "
                "byte, char or byte_bpe tokenizer"
            )
        shares = [_tokens_within(file, bytes_V, share) for file, share in zip(val, shares, strict=True)]
    return tuple(min(max(len(file.ids_N) - 1, 0), share) for file, share in zip(val, shares, strict=True))


def _tokens_within(file: TokenFile, bytes_V: np.ndarray, size: int) -> int:
    """How many tokens after the first, but at least one, end within the first `size` bytes of the text."""
    enough = file.ids_N[: size + len(file.starts_D) + 1]  # only an end of text spells no byte
    return max(int(np.searchsorted(bytes_V[enough].cumsum(), size, side="right")) - 1, 1)
