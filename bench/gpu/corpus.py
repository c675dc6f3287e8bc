"""The text of the parts that train whole runs."""

from harness import no_data, shakespeare_path

from gpu.part import Skipped


def need_shakespeare() -> None:
    """Skips the part where `JAXGPT_DATA` names no folder with tiny Shakespeare in it."""
    path = shakespeare_path()
    if not path.exists():
        raise Skipped(no_data(path))
