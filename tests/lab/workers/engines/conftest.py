"""A sweep of units that only wait, with a worker of its own; and the results of a real one that nothing befell."""

import sys
from pathlib import Path

import pytest
from ablation import Ablation

from jaxgpt.lab.workers.engines import engine, processes, ray, slurm


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
        ends = (self.folder / "units").glob("*/finished")
        return {end.parent.name: len(end.read_text().split()) for end in ends}


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    def stub(folder: Path) -> list[str]:
        return [sys.executable, str(Path(__file__).with_name("stub_worker.py")), str(folder)]

    for module in (engine, processes, ray, slurm):
        monkeypatch.setattr(module, "worker_command", stub)
    return Sweep(tmp_path / "sweep")


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """results.csv of the sweep in one process."""
    ablation = Ablation(tmp_path_factory.mktemp("undisturbed"))
    ablation.finish()
    assert ablation.events("finished") == [1, 1, 1, 1]
    return ablation.results()
