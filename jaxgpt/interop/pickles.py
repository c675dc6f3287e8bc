"""Pickles and code in checkpoints: opening them can run anything, so they are refused with the way around them."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxgpt.interop.safetensors import FILE
from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import quote
from jaxgpt.spec.stand_in import refuse_stand_in

WEIGHTS = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.npy", "*.npz")
"""Names under which pickled weights lie in a folder."""
UNSAFE = "is pickled, and a pickle can run code when it is opened: not read"
TORCH = (
    "import sys, torch; from safetensors.torch import save_file; d = {}; "
    "[d.update(torch.load(f, map_location='cpu', weights_only=True)) for f in sys.argv[2:]]; "
    "d = d.get('state_dict', d.get('model', d)); "
    "save_file({k: v.clone().contiguous() for k, v in d.items()}, sys.argv[1], {'format': 'pt'})"
)
"""`clone` gives tied tensors, which share memory, each its own: the format wants that."""
NUMPY = (
    "import sys, numpy; from safetensors.numpy import save_file; a = numpy.load(sys.argv[2], allow_pickle=True); "
    "save_file(dict(a.item() if getattr(a, 'shape', None) == () else a), sys.argv[1])"
)


def pickled(path: Path) -> bool:
    """Whether a file is a pickle, a zip archive (torch's format, numpy's npz) or an array file of numpy."""
    try:
        with path.open("rb") as file:
            head = file.read(3)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    # A pickle's third byte is an instruction, never 0; llama2.c's header may begin with 0x80 0x02 0x00.
    is_pickle = len(head) == 3 and head[0] == 0x80 and head[1] in range(2, 6) and head[2] != 0
    return is_pickle or head[:2] == b"PK" or head == b"\x93NU"


def refuse_pickle(path: Path) -> ConfigError:
    """The error for a file of which `pickled` holds, with the command that converts it."""
    return ConfigError(f"{path}: {UNSAFE}; {_remedy([path], path.with_suffix('.safetensors'))}")


def refuse_pickles(folder: Path) -> ConfigError | None:
    """The error for a folder whose only weights are pickled; None when there are none. Raises ConfigError for a file
    that only stands in for them."""
    files = sorted(path for name in WEIGHTS for path in folder.glob(name))
    if not files:
        return None
    refuse_stand_in(files[0])
    parts = [path for path in files if path.name.startswith("pytorch_model")] or files[:1]
    more = f" (and {len(parts) - 1} more)" if len(parts) > 1 else ""
    return ConfigError(f"{parts[0]}{more}: {UNSAFE}; {_remedy(parts, folder / FILE)}")


def _remedy(sources: list[Path], target: Path) -> str:
    """The command, a shell line. torch takes tensors alone from a file; numpy's objects can only be trusted or not."""
    words = " ".join(map(shlex.quote, [str(target), *map(str, sources)]))
    if sources[0].suffix in (".npy", ".npz"):
        return f'if you trust its author, convert it once: python -c "{NUMPY}" {words}'
    return f'convert once: python -c "{TORCH}" {words}'


def refuse_code(config: Mapping[str, Any], path: Path) -> None:
    """Raises ConfigError when a parsed config.json names code of the folder's own: what it computes is not in it."""
    if "auto_map" in config:
        family = str(config.get("model_type"))[:64]
        raise ConfigError(
            f"{path}: auto_map: names code in the folder, which is never run here; "
            f"if the weights are a plain {quote(family)}, remove auto_map"
        )
