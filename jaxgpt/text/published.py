"""BPE vocabularies as their authors published them: a JSON map of entries and a text file of merges."""

from pathlib import Path
from typing import TYPE_CHECKING

from jaxgpt.spec import ConfigError
from jaxgpt.text.codec import first_line, read_json

if TYPE_CHECKING:
    import tokenizers as hf

PAIRS = (
    ("vocab.json", "merges.txt"),  # Hugging Face
    ("encoder.json", "vocab.bpe"),  # GPT-2's release
    ("encoder_bpe_40000.json", "vocab_40000.bpe"),  # GPT-1's release
)


def read_bpe(folder: Path, **options: object) -> "hf.models.BPE":
    """The BPE model in `folder`, its ids as published; `options` go to `tokenizers.models.BPE`.

    Raises ConfigError when no pair of files is there, or one is malformed.
    """
    import tokenizers as hf

    for vocab_name, merges_name in PAIRS:
        if (folder / vocab_name).exists() and (folder / merges_name).exists():
            vocab, merges = read_json(folder / vocab_name), read_merges(folder / merges_name)
            if any(not isinstance(rank, int) or not 0 <= rank < 2**32 for rank in vocab.values()):
                raise ConfigError(f"{folder / vocab_name}: ids must be whole numbers; expected a map from entry to id")
            try:
                return hf.models.BPE(vocab=vocab, merges=merges, **options)
            except Exception as error:  # the Rust side raises bare Exception
                raise ConfigError(f"{folder / merges_name}: does not fit {vocab_name}: {first_line(error)}") from None
    names = ", or ".join(" with ".join(pair) for pair in PAIRS)
    raise ConfigError(f"tokenizer.path: {folder} holds no vocabulary; expected tokenizer.json, or {names}")


def read_merges(path: Path) -> list[tuple[str, str]]:
    """The merges in order of rank; a `#version` line and blank lines are skipped."""
    merges = []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # splitlines would break at symbols that BPE may merge
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}; expected two symbols a line") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip() or (number == 1 and line.startswith("#version")):
            continue
        pair = line.rstrip("\r").split(" ")
        if len(pair) != 2:
            raise ConfigError(f"{path}:{number}: expected two symbols and a space between, found {line!r}")
        merges.append((pair[0], pair[1]))
    return merges
