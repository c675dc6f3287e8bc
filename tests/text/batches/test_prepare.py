"""prepare: built once, reused by digest, never over a changed or damaged file; batches and the validation pass."""

import json
from pathlib import Path

import numpy as np
import pytest

from jaxgpt.spec import ConfigError
from jaxgpt.text import BPE, Byte, ByteBPE, Char, Codec, Data, Tokenizer, TrainingData, WordPiece, prepare
from jaxgpt.text.batches import prepare as build
from jaxgpt.text.batches import window_batches as module
from jaxgpt.text.batches.window_batches import spelled
from jaxgpt.text.tokenizers import cut
from jaxgpt.text.tokenizers.saved import load_codec

T = 8


@pytest.fixture
def make(tmp_path: Path):
    def make(tokenizer: Tokenizer | None = None, **data: object) -> TrainingData:
        return prepare(Data(**data), tokenizer or Byte(), T, cache=tmp_path / "cache", quiet=True)

    return make


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def token_files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "tokens").rglob("*.tokens"))


@pytest.mark.parametrize("tokenizer", [Byte(), Char(), ByteBPE(vocab_size=280), BPE(vocab_size=120)])
def test_a_second_prepare_builds_nothing(tokenizer: Tokenizer, make, corpus: Path, tmp_path: Path, monkeypatch):
    first = make(tokenizer, corpus=str(corpus))
    stamps = [path.stat().st_mtime_ns for path in token_files(tmp_path)]
    assert len(stamps) == 2
    monkeypatch.setattr(build, "_encode", lambda *args: pytest.fail("encoded again"))
    if tokenizer.needs_text:
        monkeypatch.setattr(type(tokenizer), "train", lambda *args: pytest.fail("trained again"))
    second = make(tokenizer, corpus=str(corpus))
    assert [path.stat().st_mtime_ns for path in token_files(tmp_path)] == stamps
    assert second.corpus_hash == first.corpus_hash and second.codec.digest == first.codec.digest
    assert same(second.batch(0, 0, 4), first.batch(0, 0, 4))


def test_the_cache_is_where_the_environment_says(corpus: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("JAXGPT_CACHE", str(tmp_path / "elsewhere"))
    prepared = prepare(Data(corpus=str(corpus)), Byte(), T, quiet=True)
    assert prepared.train[0].path.is_relative_to(tmp_path / "elsewhere" / "tokens")


def test_a_changed_corpus_or_spec_never_meets_an_old_file(make, corpus: Path, tmp_path: Path):
    first = make(corpus=str(corpus))
    make(ByteBPE(vocab_size=280), corpus=str(corpus))
    make(corpus=str(corpus), val_fraction=0.3)
    (corpus / "00.txt").write_text("new")
    assert make(corpus=str(corpus)).corpus_hash != first.corpus_hash
    assert len(token_files(tmp_path)) == 8


def test_a_damaged_token_file_is_refused_and_left_as_it_is(make, corpus: Path, tmp_path: Path):
    make(corpus=str(corpus))
    path = token_files(tmp_path)[0]
    damaged = path.read_bytes()[:-3]
    path.write_bytes(damaged)
    with pytest.raises(ConfigError, match=rf"{path}: byte {len(damaged)}: .* delete the file") as caught:
        make(corpus=str(corpus))
    assert len(str(caught.value).splitlines()) == 1
    assert path.read_bytes() == damaged
    path.unlink()
    make(corpus=str(corpus))


def test_the_vocabulary_is_learned_from_training_text_only(make, corpus: Path, tmp_path: Path):
    held_out = {text for text in (path.read_text() for path in corpus.iterdir())}
    seen: set[str] = set()

    class Spy(Tokenizer, kind="spy"):
        def train(self, texts):
            seen.update(texts())
            return Byte().train(texts)

    try:
        prepared = make(Spy(), corpus=str(corpus))
    finally:
        Tokenizer._members.pop("spy")
    held_out -= seen
    assert sum(len(text) + 1 for text in held_out) == len(prepared.val[0].ids_N) > 0
    assert make(Char(), corpus=str(corpus)).codec.vocab_size == 26


def test_every_document_is_there_and_ends(make, corpus: Path):
    prepared = make(corpus=str(corpus))
    files = (*prepared.train, *prepared.val)
    assert prepared.train_tokens == len(prepared.train[0].ids_N)
    documents = [ids for file in files for ids in np.split(file.ids_N, file.starts_D[1:])]
    assert all(ids[-1] == prepared.codec.eot for ids in documents)
    decoded = [prepared.codec.decode(ids[:-1].tolist()) for ids in documents]
    assert sorted(decoded) == sorted(path.read_text() for path in corpus.iterdir())


def test_a_large_document_is_encoded_in_pieces(make, tmp_path: Path, monkeypatch):
    text = "".join(f"line {number} of it\n" + "\n" * (number % 3) for number in range(300))
    (tmp_path / "one.txt").write_text(text)
    prepared = make(ByteBPE(vocab_size=300), corpus=str(tmp_path / "one.txt"))
    whole = prepared.codec.encode(text[: int(len(text) * 0.9)])
    for path in token_files(tmp_path):
        path.unlink()
    monkeypatch.setattr(cut, "PART", 20)
    monkeypatch.setattr(build, "CHUNK", 100)
    train = make(ByteBPE(vocab_size=300), corpus=str(tmp_path / "one.txt")).train[0]
    assert train.ids_N.tolist() == [*whole, prepared.codec.eot]
    assert train.starts_D.tolist() == [0]


def test_targets_are_the_next_tokens(make, corpus: Path):
    batch = make(corpus=str(corpus)).batch(0, 0, 64)
    assert set(batch) == {"tokens", "targets"}
    assert all(part.shape == (64, T) and part.dtype == np.int32 for part in batch.values())
    assert np.array_equal(batch["tokens"][:, 1:], batch["targets"][:, :-1])


@pytest.mark.parametrize("documents", ["cross", "separate"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_row_is_a_pure_function_of_seed_and_index(make, corpus: Path, documents: str, shuffle: bool):
    mixture = ({"corpus": str(corpus)}, {"corpus": f"{corpus}/3*.txt", "weight": 0.3})
    options = {"documents": documents, "shuffle": shuffle, "val_fraction": 0}
    prepared = make(corpus=mixture, **options)
    epochs = 3 * prepared.train_tokens // T  # far enough to pass several epochs' edges of each source
    whole = prepared.batch(5, 0, epochs)
    fresh = make(corpus=mixture, **options)
    for count in (1, 7):  # hosts that each take a part of every batch, in any order
        for start in reversed(range(0, epochs, count)):
            part = fresh.batch(5, start, min(start + count, epochs))
            assert same(part, {name: rows[start : start + count] for name, rows in whole.items()})
    assert same(whole, prepared.batch(6, 0, epochs)) is not shuffle


def test_an_epoch_holds_each_window_once_and_epochs_differ(make, corpus: Path, monkeypatch):
    prepared = make(corpus=str(corpus))
    numbered = np.arange(len(prepared.train[0].ids_N), dtype=np.uint16)
    object.__setattr__(prepared.train[0], "ids_N", numbered)
    windows = (len(numbered) - T) // T
    first, second = (prepared.batch(1, epoch * windows, (epoch + 1) * windows)["tokens"] for epoch in (0, 1))
    for epoch in (first, second):
        starts = np.sort(epoch[:, 0])
        assert np.array_equal(np.diff(starts), np.full(windows - 1, T))  # contiguous, without overlap
        assert not np.array_equal(epoch[:, 0], starts)
    assert first[:, 0].min() % T != second[:, 0].min() % T  # the grid moved
    other = prepared.batch(2, 0, windows)["tokens"]
    assert not np.array_equal(other[:, 0].argsort(), first[:, 0].argsort())


def test_without_shuffle_rows_follow_the_text(make, corpus: Path):
    prepared = make(corpus=str(corpus), shuffle=False)
    count = (prepared.train_tokens - 1) // T
    assert np.array_equal(prepared.batch(3, 0, count)["tokens"].ravel(), prepared.train[0].ids_N[: count * T])


def test_a_mixture_keeps_its_weights(make, tmp_path: Path):
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(name * 500)
    mixture = ({"corpus": str(tmp_path / "a.txt"), "weight": 3}, {"corpus": str(tmp_path / "b.txt"), "weight": 1})
    prepared = make(Char(), corpus=mixture, val_tokens=40)
    for start in (0, 1000):
        tokens = prepared.batch(0, start, start + 400)["tokens"]
        assert np.all(tokens == tokens[:, :1])
        assert (tokens[:, 0] == 1).mean() == pytest.approx(1 / 4, rel=0.04)
    assert prepared.val_limits == (30, 10) and prepared.val_tokens == 40
    assert prepared.corpus_hash not in {make(Char(), corpus=source["corpus"]).corpus_hash for source in mixture}


def test_separate_documents_do_not_see_each_other(make, corpus: Path):
    prepared = make(corpus=str(corpus), documents="separate")
    batch = prepared.batch(0, 0, 200)
    eot = prepared.codec.eot
    assert {name: part.dtype for name, part in batch.items()} == {
        "tokens": np.int32,
        "targets": np.int32,
        "weights": np.float32,
        "segments": np.int32,
        "positions": np.int32,
    }
    for tokens, weights, segments, positions in zip(
        *(batch[name] for name in ("tokens", "weights", "segments", "positions")), strict=True
    ):
        assert np.array_equal(weights, tokens != eot)  # the target of an end of text is another document's first token
        segment, position = 1, 0
        for index, token in enumerate(tokens):
            assert (segments[index], positions[index]) == (segment, position)
            segment, position = (segment + 1, 0) if token == eot else (segment, position + 1)


def test_boundaries_survive_without_an_end_of_text_token(make, corpus: Path):
    batch = make(Char(), corpus=str(corpus), documents="separate").batch(0, 0, 200)
    inside = batch["tokens"] == batch["targets"]  # each document repeats one letter, its neighbour another
    assert np.array_equal(batch["weights"] == 1, inside)
    assert (batch["segments"].max(axis=1) > 1).any()


@pytest.mark.parametrize("rows", [1, 3, 1000])
@pytest.mark.parametrize("val_tokens", [None, 1, 8, 21])
def test_validation_scores_each_held_out_token_once(make, corpus: Path, rows: int, val_tokens: int | None):
    prepared = make(corpus=str(corpus), val_fraction=0.4, val_tokens=val_tokens)
    held_out = prepared.val[0].ids_N
    batches = prepared.val_batches(rows)
    assert [set(batch) for batch in batches] == [{"tokens", "targets", "weights"}] * len(batches)
    assert {part.shape for batch in batches for part in batch.values()} == {(rows, T)}
    scored = [batch["targets"][batch["weights"] == 1] for batch in batches]
    context = [batch["tokens"][batch["weights"] == 1] for batch in batches]
    expected = val_tokens or len(held_out) - 1
    assert prepared.val_tokens == expected
    assert np.concatenate(scored).tolist() == held_out[1 : expected + 1].tolist()
    assert np.concatenate(context).tolist() == held_out[:expected].tolist()
    assert set(np.unique(np.concatenate([batch["weights"] for batch in batches]))) <= {0.0, 1.0}
    assert same(batches[-1], batches[len(batches) - 1]) and len(batches[:1]) == 1
    with pytest.raises(IndexError):
        batches[len(batches)]


def test_separate_validation_scores_all_but_the_first_token_of_each_document(make, corpus: Path):
    prepared = make(corpus=str(corpus), val_fraction=0.4, documents="separate")
    batches = prepared.val_batches(5)
    assert sum(batch["weights"].sum() for batch in batches) == len(prepared.val[0].ids_N) - len(
        prepared.val[0].starts_D
    )
    padded = batches[-1]["segments"] == 0
    assert padded.any() and not batches[-1]["weights"][padded].any()


LOSSLESS = [Byte(), Char(), ByteBPE(vocab_size=300)]


@pytest.fixture
def foreign(tmp_path: Path, texts: list[str]) -> Path:
    """A folder of 60 documents whose characters take one to four bytes."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    for index in range(60):
        (folder / f"{index:02d}.txt").write_text(texts[index % len(texts)][: 5 + index])
    return folder


@pytest.mark.parametrize("tokenizer", [*LOSSLESS, ByteBPE(vocab_size=300, end_of_text=None)])
def test_an_id_spells_the_bytes_it_stands_for(tokenizer: Tokenizer, texts: list[str]):
    codec = tokenizer.train(lambda: texts)
    bytes_V = spelled(codec)
    assert bytes_V is not None and bytes_V.shape == (codec.vocab_size,)
    assert codec.eot is None or bytes_V[codec.eot] == 0
    for text in (*texts, "", " ", "".join(sorted({*"".join(texts)}))):
        assert bytes_V[codec.encode(text)].sum() == len(text.encode())


def lossy(texts: list[str], tmp_path: Path) -> dict[str, Codec]:
    def loaded(name: str, change) -> Codec:
        tree = json.loads(ByteBPE(vocab_size=300).train(lambda: texts).tokenizer_json())
        change(tree)
        (tmp_path / name).mkdir()
        (tmp_path / name / "tokenizer.json").write_text(json.dumps(tree))
        return load_codec(tmp_path / name)

    def word(tree):
        tree["added_tokens"].append({**tree["added_tokens"][-1], "id": 300, "content": "word", "special": False})

    return {
        "case": BPE(vocab_size=120).train(lambda: texts),
        "space": WordPiece(vocab_size=200).train(lambda: texts),
        "form": loaded("form", lambda tree: tree.update(normalizer={"type": "NFKC"})),
        "prefix": loaded("prefix", lambda tree: tree["pre_tokenizer"].update(add_prefix_space=True)),
        "missing": loaded("missing", lambda tree: tree["model"]["vocab"].pop("ÿ")),
        "word": loaded("word", word),
    }


@pytest.mark.parametrize("loses", ["case", "space", "form", "prefix", "missing", "word"])
def test_a_vocabulary_that_loses_text_has_no_bytes(loses: str, texts: list[str], tmp_path: Path):
    assert spelled(lossy(texts, tmp_path)[loses]) is None


@pytest.mark.parametrize("limit", [{}, {"val_tokens": 50}, {"val_bytes": 200}])
@pytest.mark.parametrize("documents", ["cross", "separate"])
@pytest.mark.parametrize("tokenizer", LOSSLESS)
def test_bytes_are_those_of_the_tokens_scored(tokenizer, documents, limit, make, foreign: Path, monkeypatch):
    monkeypatch.setattr(module, "_MANY", 7)
    mixture = ({"corpus": f"{foreign}/*[02468].txt", "weight": 3}, {"corpus": f"{foreign}/*[13579].txt"})
    for corpus in (str(foreign), mixture):
        prepared = make(tokenizer, corpus=corpus, val_fraction=0.4, documents=documents, **limit)
        scored = np.concatenate([b["targets"][b["weights"] == 1] for b in prepared.val_batches(3)])
        assert prepared.val_tokens_per_byte == len(scored) / spelled(prepared.codec)[scored].sum()


def test_bytes_limit_validation_to_the_same_text_for_every_tokenizer(make, foreign: Path):
    for size in (1, 40, 333):
        for tokenizer in LOSSLESS:
            prepared = make(tokenizer, corpus=str(foreign), val_fraction=0.4, val_bytes=size)
            bytes_V, ids, limit = spelled(prepared.codec), prepared.val[0].ids_N, prepared.val_tokens
            assert limit == 1 or bytes_V[ids[: limit + 1]].sum() <= size < bytes_V[ids[: limit + 2]].sum()
    whole = make(corpus=str(foreign), val_fraction=0.4)
    assert make(corpus=str(foreign), val_fraction=0.4, val_bytes=10**9).val_limits == whole.val_limits


def test_a_limit_in_bytes_needs_a_tokenizer_that_keeps_them(make, corpus: Path):
    with pytest.raises(ConfigError, match=r"data\.val_bytes: .* use data\.val_tokens, or the byte"):
        make(BPE(vocab_size=120), corpus=str(corpus), val_bytes=100)
    assert make(BPE(vocab_size=120), corpus=str(corpus)).val_tokens_per_byte is None
    assert make(corpus=str(corpus), val_fraction=0).val_tokens_per_byte is None
    with pytest.raises(ValueError, match="val_tokens and val_bytes both limit"):
        Data(val_tokens=1, val_bytes=1)


def test_no_validation_when_nothing_is_held_out(make, corpus: Path):
    prepared = make(corpus=str(corpus), val_fraction=0)
    assert prepared.val_tokens == 0 and len(prepared.val_batches(4)) == 0


def test_the_data_block_overrides_the_models_context(make, corpus: Path):
    assert make(corpus=str(corpus)).batch(0, 0, 2)["tokens"].shape == (2, T)
    assert make(corpus=str(corpus), seq_len=5).batch(0, 0, 2)["tokens"].shape == (2, 5)


def test_too_little_text_is_one_line(make, corpus: Path, tmp_path: Path):
    with pytest.raises(
        ConfigError, match=r"training tokens, fewer than one row of 5000 and its target; give more text"
    ):
        make(corpus=str(corpus), seq_len=5000)
    with pytest.raises(ConfigError, match=r"data\.val_fraction: 1e-06 holds out none of the 40 documents"):
        make(corpus=str(corpus), val_fraction=1e-6)


def test_the_shortest_corpus_that_fits_gives_rows(make, tmp_path: Path):
    (tmp_path / "short.jsonl").write_text('{"text": "abcdefgh"}\n')
    batch = make(corpus=str(tmp_path / "short.jsonl"), val_fraction=0).batch(0, 0, 3)
    assert batch["tokens"].tolist() == [list(b"abcdefgh")] * 3
    assert batch["targets"][:, -1].tolist() == [256] * 3
