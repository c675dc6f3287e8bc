"""The evaluation task seam: what a model is measured by.

    class Riddles(Prompted):
        def example(self, row, number):
            return Example(row.where, self.filled("{riddle}\\nAnswer:", row), (row.fields["answer"],))
        ...

From its declaration on, `jaxgpt eval MODEL FILE.py:riddles --path riddles.jsonl` asks a model so, and a run may name it
in `eval.tasks`.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import Field

from jaxgpt.evals.measured import Measured
from jaxgpt.evals.model import EvalModel
from jaxgpt.models import Model
from jaxgpt.objectives import Objective
from jaxgpt.spec import ConfigError, Seam
from jaxgpt.spec.errors import listed
from jaxgpt.spec.sizes import Length
from jaxgpt.text.corpora.columns import ScoredPairs, first_fields
from jaxgpt.text.corpora.formats import Record, endings, format_of
from jaxgpt.text.corpora.locate import locate

Ask = Callable[[EvalModel], Measured]
"""A task whose data are read, asked of a model."""


class EvalTask(Seam, seam="evaluation_task"):
    """Base of what models are measured by."""

    path: str = Field(min_length=1)
    """The task's data: a file or folder, here or in JAXGPT_DATA."""
    limit: Length | None = None
    """Items that are asked about, the first so many; None: all."""

    name: str | None = Field(default=None, min_length=1, max_length=100)
    """Under which its figures are reported; None: its kind."""

    @abstractmethod
    def opened(self) -> Ask:
        """Reads the data, so that whatever is wrong with them is said before a model is loaded. Raises ConfigError."""

    def suits(self, model: Model, objective: Objective | None) -> None:
        """Raises ConfigError for a model, trained by `objective` where that is known, of which it cannot be asked; so
        long as it says nothing else, for one that continues no text."""
        if not model.continues:
            raise ConfigError(f"{self.title}: model {model.kind} continues no text; leave it out, or use a decoder")

    def scored_pairs(self) -> dict[str, ScoredPairs]:
        """The pairs of texts, by subset, of which a picture may be made; none where it is about no such pairs. Raises
        ConfigError."""
        return {}

    def files(self) -> list[Path]:
        """All files that it reads. Raises ConfigError."""
        return [self.file]

    @property
    def file(self) -> Path:
        """Where the data are. Raises ConfigError."""
        return locate(self.path, "path")

    def figure(self, name: str) -> str:
        """The name under which a figure of this task is reported."""
        return f"{self.title}/{name}"

    @property
    def title(self) -> str:
        """What it is called in reports."""
        return self.name or self.kind

    def first(self, records: Sequence[Record], path: Path) -> list[Record]:
        """The items that are asked about. Raises ConfigError where there are none."""
        if not records:
            raise ConfigError(f"{path}: holds no rows")
        return list(records[: self.limit])


def read_records(path: Path, names: Sequence[str]) -> list[Record]:
    """The rows of a table or of records with the fields `names`, which are numbers of columns in a table without
    header. Raises ConfigError."""
    form = format_of(path)
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder; expected a file that ends in {endings(columns=2)}")
    if form is None or form.one_column:
        raise ConfigError(f"{path}: expected a file that ends in {endings(columns=2)}")
    by_number = not form.named and all(name.isascii() and name.isdigit() for name in names)
    return list(form.records(path, None if by_number else names))


def find_field(path: Path, what: str, known: Sequence[str]) -> str:
    """The first of the names that a file has a field or a column of. Raises ConfigError, which says what to name."""
    given, _ = first_fields(path)
    for name in known:
        if name in given:
            return name
    raise ConfigError(f"{path}: has fields {listed(given)}; name the one to use as {what} (known: {', '.join(known)})")
