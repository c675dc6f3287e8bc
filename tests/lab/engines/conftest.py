"""A sweep of units that only wait, and a worker for it."""

import sys
from pathlib import Path

import pytest

from jaxgpt.lab.engines import engine, processes, ray, slurm


class Sweep:
    """The stub worker's folder; a step is a tenth of a second."""

    def __init__(self, folder: Path):
        self.folder = folder

    def add(self, name: str, steps: int) -> Path:
        unit = self.folder / "units" / name
        unit.mkdir(parents=True)
        (unit / "steps").write_text(str(steps))
        return unit

    def finished(self) -> dict[str, int]:
        """How often each unit came to its end."""
        units = (self.folder / "units").iterdir()
        return {
            unit.name: len((unit / "finished").read_text().split()) for unit in units if (unit / "finished").exists()
        }


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    def stub(folder: Path) -> list[str]:
        return [sys.executable, str(Path(__file__).with_name("stub_worker.py")), str(folder)]

    for module in (engine, processes, ray, slurm):
        monkeypatch.setattr(module, "worker_command", stub)
    return Sweep(tmp_path / "sweep")
