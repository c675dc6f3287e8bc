"""What a model's own head says of texts with labels."""

from typing import Literal

from jaxgpt.evals.forms import task_of
from jaxgpt.evals.labelled import measure, read_labelled
from jaxgpt.evals.measured import Measured
from jaxgpt.evals.model import EvalModel
from jaxgpt.evals.tasks.task import Ask, EvalTask
from jaxgpt.models import Model
from jaxgpt.objectives import Objective
from jaxgpt.spec import ConfigError
from jaxgpt.text.corpora.columns import first_fields

Form = Literal["classify", "similarity", "regress", "choice"]
"""What is answered: a label, how alike two texts are whichever comes first, a score, or the place of a candidate."""


class TextHead(EvalTask):
    """The answers of a model's head for texts, by the figures of the objective that trains one.

    Texts and labels are found by the names of the columns that the model was trained on, or by known ones.
    """

    citation = "Radford et al. 2018 (GPT-1), section 3.3"
    form: Form
    """What is answered."""

    @property
    def title(self) -> str:
        """See `EvalTask.title`."""
        return self.name or self.form

    def suits(self, model: Model, objective: Objective | None) -> None:
        """See `EvalTask.suits`: for models with a head that answers so."""
        task_of(objective, model, self.form)

    def opened(self) -> Ask:
        """Looks at the file; which of its columns are meant, a model must say."""
        path = self.file
        first_fields(path)

        def ask(model: EvalModel) -> Measured:
            head = model.head(self.form)
            rows = read_labelled(self.form, path, head.data)[: self.limit]
            if self.form != "choice" and head.texts not in (None, len(rows[0].texts)):
                raise ConfigError(
                    f"{rows[0].where}: {len(rows[0].texts)} texts a row, and the model was trained on {head.texts}; "
                    "name the columns as in training"
                )
            return measure(self.title, head.objective, head.labels, rows, head.answers)

        return ask
