"""BPE vocabularies as their authors published them: a JSON map of entries and a text file of merges."""

from pathlib import Path
from typing import TYPE_CHECKING

from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import quote
from jaxgpt.spec.small_file import read_small
from jaxgpt.text.corpora.utf8 import sound
from jaxgpt.text.tokenizers.huggingface import MOST
from jaxgpt.text.tokenizers.tokenizer_json import LARGEST, one_line, parsed

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
            path = folder / vocab_name
            vocab = parsed(read_small(path, LARGEST), path, "expected a map from entry to id")
            merges = read_merges(folder / merges_name)
            for entry, rank in vocab.items():
                if type(rank) is not int or not 0 <= rank < MOST or not sound(entry):
                    raise ConfigError(
                        f"{path}: {quote(entry)}: {quote(rank)}; ids must be whole numbers below {MOST:,}"
                    )
            with one_line(f"{folder / merges_name}: does not fit {vocab_name}"):
                return hf.models.BPE(vocab=vocab, merges=merges, **options)
    names = ", or ".join(" with ".join(pair) for pair in PAIRS)
    raise ConfigError(f"tokenizer.path: {folder} holds no vocabulary; expected tokenizer.json, or {names}")


def read_merges(path: Path) -> list[tuple[str, str]]:
    """The merges in order of rank; a `#version` line and blank lines are skipped."""
    merges = []
    lines = read_small(path, LARGEST).split("\n")  # splitlines would break at symbols that BPE may merge
    if len(lines) > MOST:
        raise ConfigError(f"{path}: {len(lines):,} lines; expected at most {MOST:,}, two symbols each")
    for number, line in enumerate(lines, start=1):
        if not line.strip() or (number == 1 and line.startswith("#version")):
            continue
        pair = line.rstrip("\r").split(" ")
        if len(pair) != 2:
            raise ConfigError(f"{path}:{number}: expected two symbols and a space between, found {quote(line)}")
        merges.append((pair[0], pair[1]))
    return merges
