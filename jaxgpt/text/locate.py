"""Where a name in a config is looked up: the folder JAXGPT_DATA, then the path as given."""

import os
from pathlib import Path

from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import did_you_mean


def locate(name: str, field: str) -> Path:
    """The existing file or folder that `name` means. Raises ConfigError that says what was tried."""
    given, root = Path(name).expanduser(), os.environ.get("JAXGPT_DATA")
    tried = [given] if root is None else [Path(root).expanduser() / given, given]  # an absolute path overrides the root
    for path in tried:
        if path.exists():
            return path
    near = did_you_mean(name, (entry.name for entry in Path(root).iterdir())) if root and Path(root).is_dir() else ""
    places = " and ".join(dict.fromkeys(str(path) for path in tried))
    raise ConfigError(
        f"{field}: '{name}' is not there: tried {places}; give a path, or set JAXGPT_DATA to its folder{near}"
    )
