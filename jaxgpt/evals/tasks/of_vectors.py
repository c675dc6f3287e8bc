"""What a model's vectors are good for: whether they order pairs as people do, and find what answers a query."""

from functools import partial
from pathlib import Path

from jaxgpt.evals.measured import Measured
from jaxgpt.evals.model import EvalModel
from jaxgpt.evals.retrieval import read_retrieval, retrieval
from jaxgpt.evals.sts import read_subsets, sts, subset_files
from jaxgpt.evals.tasks.task import Ask, EvalTask
from jaxgpt.models import Model
from jaxgpt.objectives import Objective
from jaxgpt.text.corpora.columns import ScoredPairs


class OfVectors(EvalTask):
    """Base of tasks about vectors."""

    pooling: str | None = None
    """How hidden states become a vector, by its name; None: as the model has it."""

    def suits(self, model: Model, objective: Objective | None) -> None:
        """See `EvalTask.suits`: all models have vectors."""


class STS(OfVectors, kind="sts"):
    """Semantic textual similarity: Spearman's correlation of cosines with what people say of pairs.

    A folder's files are subsets, and of each `limit` pairs are taken.
    """

    citation = "Gao et al. 2021 (SimCSE), appendix B"

    def opened(self) -> Ask:
        """See `EvalTask.opened`."""
        subsets = self.scored_pairs()

        def ask(model: EvalModel) -> Measured:
            return sts(partial(model.encode, pooling=self.pooling), subsets, self.title)

        return ask

    def scored_pairs(self) -> dict[str, ScoredPairs]:
        """See `EvalTask.scored_pairs`."""
        most = slice(self.limit)
        return {
            name: ScoredPairs(pairs.first[most], pairs.second[most], pairs.scores[most])
            for name, pairs in read_subsets(self.file).items()
        }

    def files(self) -> list[Path]:
        """See `EvalTask.files`."""
        return subset_files(self.file)


class Retrieval(OfVectors):
    """Whether a query's vector finds, among all documents, those that answer it; `limit` is of queries."""

    citation = "Voorhees 1999 (TREC-8); Järvelin & Kekäläinen 2002"

    def opened(self) -> Ask:
        """See `EvalTask.opened`."""
        data = read_retrieval(self.file)
        data = data._replace(queries=data.queries[: self.limit], relevant=data.relevant[: self.limit])

        def ask(model: EvalModel) -> Measured:
            return retrieval(partial(model.encode, pooling=self.pooling), data, self.title)

        return ask
