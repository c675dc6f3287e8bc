"""What another library calls a model class: its configuration and its tensors, both ways."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxgpt.interop.name_map import NameMap
from jaxgpt.interop.source import Put
from jaxgpt.interop.zero_biases import add_zeros
from jaxgpt.models import Model


class Family(NamedTuple):
    """One class of `transformers`."""

    model_type: str
    """What config.json calls it."""
    architecture: str
    """The class that an export names."""
    kind: type[Model]
    """Our class of such models."""
    names: Callable[[Any], NameMap]
    """The tensors of a model of this family."""
    spec: Callable[[Mapping[str, Any]], Model]
    """A parsed config.json -> the model. Raises ConfigError with one line for every key that changes the computation
    and that we cannot follow; keys that do not are ignored."""
    config: Callable[[Any], dict[str, Any]]
    """A model -> the content of config.json. Raises ConfigError with one line for every field that it cannot express.
    What shapes the start and the training alone (init_std, dropout) may be lost."""
    fit: Callable[[Any, Collection[str]], Model] = lambda model, tensors: model
    """The model with the optional parts that the names of a file's tensors show: it may hold more heads than its
    config.json says, or fewer."""
    filled: Callable[[Any], Model] = lambda model: model
    """The model with the biases that the class always has: one without them is it, with zeros there. And one that
    judges texts without the other heads, which no class of those has."""
    folded: Callable[[Any, Any, Mapping[str, Any]], Mapping[str, Any]] = lambda model, fuller, params: params
    """`(model, filled(model), params)`, with zeros for the biases -> the weights of the latter."""
    task_classes: tuple[str, ...] = ()
    """Names of the classes that judge texts."""

    def fill(self, model: Any, params: Mapping[str, Any]) -> tuple[Model, Mapping[str, Any]]:
        """The model and its weights as the class has them: what it says of a text is the same."""
        fuller = self.filled(model)
        if fuller == model:
            return model, params
        return fuller, self.folded(model, fuller, add_zeros(params, fuller.shapes()))

    def read(
        self, tensors: Mapping[str, Any], model: Model, dtype: str = "float32", put: Put | None = None
    ) -> dict[str, Any]:
        """Named tensors -> the parameter tree; see NameMap.read. Raises ConfigError for a model that is none of these:
        a mechanism without tensors of its own, such as a soft cap, would be lost without a word."""
        self.config(model)
        return self.names(model).read(tensors, model.shapes(), dtype, put)

    def write(self, params: Mapping[str, Any], model: Model) -> dict[str, np.ndarray]:
        """The parameter tree (or one of its shape: gradients, averages) -> named tensors; a tied output is left out.
        Raises as `read` does."""
        self.config(model)
        return self.names(model).write(params, model.shapes())
