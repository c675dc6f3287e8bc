"""Reading a `tokenizer.json` of others. The library that runs it panics, hangs or fills the memory on a bad one, and
cannot be stopped: a file is tried out once in a process of its own, with limits, before it is opened here.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxgpt.disk import cache_dir
from jaxgpt.spec import ConfigError, JaxgptError
from jaxgpt.spec.errors import quote
from jaxgpt.spec.small_file import read_small

if TYPE_CHECKING:
    import tokenizers as hf

LARGEST = 64 << 20
"""Bytes of a vocabulary's file; the largest known, Gemma's, has 33 million."""
PATIENCE = 60
"""Seconds on the clock; the process itself ends after fewer on a processor, see `probe.py`."""
PROBE = Path(__file__).with_name("probe.py")
EXPECTED = "expected a tokenizer.json"


def read(path: Path) -> "hf.Tokenizer":
    """The tokenizer in a file. Raises ConfigError with one line when it is missing, malformed, or does not run."""
    text = read_small(path, LARGEST)
    tree = parsed(text, path)
    check_runs(text, tree, path)
    return opened(text, path)


def opened(text: str, path: Path) -> "hf.Tokenizer":
    """The tokenizer that a text spells which is known to be sound."""
    import tokenizers as hf

    with one_line(f"{path}: not a tokenizer.json"):
        return hf.Tokenizer.from_str(text)


def parsed(text: str, path: Path, expected: str = EXPECTED) -> dict[str, Any]:
    """The JSON object in a text. Raises ConfigError with one line that names `path`."""
    try:
        tree = json.loads(text)
    except RecursionError:
        raise ConfigError(f"{path}: not JSON: nested too deeply; {expected}") from None
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON: {quote(str(error), 200)[1:-1]}; {expected}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected a JSON object, found {type(tree).__name__}; {expected}")
    return tree


def check_runs(text: str, tree: dict[str, Any], path: Path) -> None:
    """Raises ConfigError with one line unless the tokenizer was made here or has been tried out, now or before."""
    model = tree.get("model")
    if isinstance(model, dict) and model.get("dropout") not in (None, 0):
        raise ConfigError(f"{path}: model.dropout: {quote(model['dropout'])} draws ids at random; set it to null")
    vocab = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocab, dict) and (twins := _twins(vocab)) is not None:
        raise ConfigError(
            f"{path}: model.vocab: {quote(twins[0])} and {quote(twins[1])} have the same id; make ids unique"
        )
    raw = text.encode("utf-8")
    note = _note(raw)
    if note.exists() or not sys.executable:
        return
    command = [sys.executable, "-I", "-S", str(PROBE), json.dumps([entry for entry in sys.path if entry])]
    try:
        done = subprocess.run(
            command,
            input=raw,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE,
            env={"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONUTF8": "1"},
            check=False,
        )
        said = done.stdout.decode("utf-8", "replace").strip()
        problem = said or "it crashes the tokenizers library, or takes more time or memory than any sound one"
    except subprocess.TimeoutExpired:
        problem = "it takes more time than any sound one"
    except OSError as error:
        raise ConfigError(f"{path}: cannot be tried out: {error.strerror}") from None
    if problem != "sound":
        raise ConfigError(f"{path}: not a tokenizer.json that runs: {problem[:300]}")
    _write(note)


def _twins(vocab: dict[str, Any]) -> tuple[str, str] | None:
    """Two tokens of one id, of which the library would keep either, at random, when it writes the vocabulary."""
    first: dict[Any, str] = {}
    for token, index in vocab.items():
        if isinstance(index, int) and (other := first.setdefault(index, token)) is not token:
            return other, token
    return None


def vouch(text: str) -> None:
    """Notes that `text` comes from a tokenizer that runs here, so that reading it back takes no process."""
    _write(_note(text.encode("utf-8")))


@contextmanager
def one_line(what: str) -> Iterator[None]:
    """Turns what the tokenizers library raises, its panics among them, into a ConfigError that begins with `what`."""
    try:
        yield
    except (JaxgptError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # bare Exception, or a panic, which is none
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ConfigError(f"{what}: {quote(' '.join(str(error).split()), 200)[1:-1] or type(error).__name__}") from None


def _note(raw: bytes) -> Path:
    """The empty file that says of a text that it was tried out with this version of the library."""
    from importlib.metadata import version

    sha = hashlib.sha256(raw)
    sha.update(f"\0{version('tokenizers')}\0{PROBE.read_text(encoding='utf-8')}".encode())
    return cache_dir() / "tokenizers" / "sound" / sha.hexdigest()


def _write(note: Path) -> None:
    with suppress(OSError):  # then it is tried out again
        note.parent.mkdir(parents=True, exist_ok=True)
        note.touch()
