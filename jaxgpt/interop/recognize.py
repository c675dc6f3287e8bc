"""Which format a checkpoint of another library is in, recognised by its content and not by its name."""

from pathlib import Path

from jaxgpt.interop.hugging_face import folder as hf_folder
from jaxgpt.interop.peft.config import CONFIG as ADAPTER
from jaxgpt.interop.pickles import pickled, refuse_pickle, refuse_pickles
from jaxgpt.interop.sentence_transformers import read as sentence_transformers
from jaxgpt.interop.source import Source
from jaxgpt.spec import ConfigError
from jaxgpt.spec.stand_in import refuse_stand_in

EXPECTED = "expected a run, a Hugging Face folder, a .gguf file, or a .bin of llama2.c"


def read_source(path: Path) -> Source:
    """The checkpoint at `path`, opened and checked; see `Source`. Raises ConfigError with one line for each fault."""
    if path.is_dir():
        if (path / sentence_transformers.MODULES).is_file():
            return sentence_transformers.read_source(path)
        if (path / hf_folder.CONFIG).is_file():
            return hf_folder.read_source(path)
        if (path / ADAPTER).is_file():
            raise ConfigError(
                f"{path}: is an adapter; load what it is for, with adapter={str(path)!r}, or merge the two"
            )
        raise refuse_pickles(path) or ConfigError(f"{path}: {_within(path)}; {EXPECTED}")
    if not path.exists():
        raise ConfigError(f"{path}: is not there; {EXPECTED}")
    if not path.is_file():
        raise ConfigError(f"{path}: is no file; {EXPECTED}")
    refuse_stand_in(path)
    if pickled(path):
        raise refuse_pickle(path)
    if _head(path, 4) == b"GGUF":
        from jaxgpt.interop.gguf import read as gguf  # here: its package takes a while

        return gguf.read_source(path)
    if path.suffix == ".safetensors" or _head(path, 9)[8:] == b"{":
        raise ConfigError(f"{path}: weights alone do not say what they compute; give their folder, with a config.json")
    if path.suffix == ".bin":
        from jaxgpt.interop import llama2c

        return llama2c.read_source(path)
    raise ConfigError(f"{path}: is none of the formats read here; {EXPECTED}")


def _within(folder: Path) -> str:
    files = sorted(folder.glob("*.gguf"))
    return f"holds no config; give {files[0]} itself" if files else "holds no config.yaml or config.json"


def _head(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)
