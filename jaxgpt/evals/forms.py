"""What a text head answers, by the objective that trained it."""

from jaxgpt.models import Model
from jaxgpt.objectives import Choice, Classify, Objective, Regress
from jaxgpt.objectives.task import Task
from jaxgpt.spec import ConfigError

FORMS = {
    "classify": ("joined", "class"),
    "similarity": ("both_orders", "number"),
    "regress": ("joined", "number"),
    "choice": ("candidates", "index"),
}
"""What each task reads, and what it answers, as objectives say it (`arrangement`, `target`)."""
METHODS = {"classify": "m.classify", "similarity": "m.similarity", "regress": "m.rate", "choice": "m.choose"}


def form_of(task: Objective) -> str | None:
    """Which of FORMS an objective has; None: another."""
    return next((name for name, form in FORMS.items() if form == (task.arrangement, task.target)), None)


def task_of(objective: Objective | None, model: Model, wanted: str) -> Task:
    """The objective by which a model answers in the form `wanted`, one of FORMS: the one that trained it, else the one
    that its head can have.

    Raises ConfigError for a model without a head that answers, and one that answers in another form.
    """
    head = model.text_head
    if head is None or not head.judges:
        raise ConfigError(
            "model.text_head: these weights have no head for tasks; train one with text_head={kind: task}, or give a "
            "folder of a class for tasks, such as ...ForSequenceClassification"
        )
    if not isinstance(objective, Task):  # other libraries' weights, or a head that another objective left alone
        labels, scale = getattr(head, "labels", None), getattr(head, "scale", None)
        objective = Classify() if labels else Regress() if scale else Choice()
    form = form_of(objective)
    if form != wanted:
        use = f"; use {METHODS[form]}, and in `jaxgpt eval` task {form}" if form else ""
        raise ConfigError(f"{wanted}: these weights answer by objective {objective.kind}{use}")
    return objective
