"""mteb's own figures of our vectors are ours: similarity and retrieval, offline (`make parity`)."""

import numpy as np
import pytest

from jaxgpt.evals.retrieval import from_rows, retrieval
from jaxgpt.evals.sts import sts
from jaxgpt.inference.loaded import Loaded
from jaxgpt.models import BERT
from jaxgpt.spec import ConfigError
from jaxgpt.text import WordPiece
from jaxgpt.text.corpora.columns import ScoredPairs

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

WORDS = ["banana", "bandana", "an", "nab", "bad", "dab"]
rng = np.random.default_rng(0)
TEXTS = list(dict.fromkeys(" ".join(rng.choice(WORDS, n)) for n in rng.integers(1, 12, 80)))
ABOUT = {
    "description": "made up",
    "dataset": {"path": "none", "revision": "none"},
    "eval_splits": ["test"],
    "eval_langs": ["eng-Latn"],
    "modalities": ["text"],
    "bibtex_citation": "",
}


@pytest.fixture(scope="module")
def m(weights):
    size = {"num_layers": 1, "d_model": 16, "num_heads": 2, "context": 16, "vocab_size": 40}
    model = BERT(**size, masked_head=False, pooler=False)
    return Loaded(model, model, weights(model), WordPiece(vocab_size=40).train(lambda: WORDS * 3))


@pytest.fixture(scope="module")
def mteb():
    return pytest.importorskip("mteb", reason="needs mteb: pip install 'jaxgpt[mteb]'")


@pytest.fixture(scope="module")
def adapted(mteb, m):
    from jaxgpt.evals.mteb import Adapter

    return Adapter(m)


def evaluate(mteb, model, task):
    (result,) = mteb.evaluate(model, task, cache=None, show_progress_bar=False).task_results
    (scores,) = result.scores["test"]
    return scores


def test_similarity(mteb, m, adapted):
    from datasets import Dataset, DatasetDict
    from mteb.abstasks.sts import AbsTaskSTS
    from mteb.abstasks.task_metadata import TaskMetadata

    rows = rng.choice(len(TEXTS), (60, 2))
    pairs = ScoredPairs(*([TEXTS[i] for i in side] for side in rows.T), np.round(rng.uniform(0, 5, 60), 1))

    class Made(AbsTaskSTS):
        metadata = TaskMetadata(type="STS", name="MadeUpSTS", main_score="cosine_spearman", **ABOUT)

        def load_data(self, *args, **kwargs):
            columns = dict(zip(("sentence1", "sentence2", "score"), pairs, strict=True))
            self.dataset, self.data_loaded = DatasetDict(test=Dataset.from_dict(columns)), True

    theirs = evaluate(mteb, adapted, Made())["main_score"]
    assert 100 * theirs == pytest.approx(sts(m.encode, {"made": pairs}).figures["sts/all"], rel=1e-7)


def test_retrieval(mteb, m, adapted):
    from datasets import Dataset
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    queries, documents = TEXTS[:20], TEXTS[20:]
    data = from_rows([(query, *rng.choice(documents, 2, replace=False)) for query in queries * 2])
    assert max(map(len, data.relevant)) == 2 and len(data.documents) > 30

    def table(kind, texts):
        return Dataset.from_dict({"id": [f"{kind}{i}" for i in range(len(texts))], "text": texts})

    class Made(AbsTaskRetrieval):
        metadata = TaskMetadata(type="Retrieval", name="MadeUpRetrieval", main_score="ndcg_at_10", **ABOUT)

        def load_data(self, *args, **kwargs):
            split = {
                "queries": table("q", data.queries),
                "corpus": table("d", data.documents),
                "relevant_docs": {f"q{i}": {f"d{j}": 1 for j in own} for i, own in enumerate(data.relevant)},
                "top_ranked": None,
            }
            self.dataset, self.data_loaded = {"default": {"test": split}}, True

    theirs, ours = evaluate(mteb, adapted, Made()), retrieval(m.encode, data)
    for name in ("recall@1", "recall@5", "recall@10", "mrr@10", "ndcg@10"):
        assert theirs[name.replace("@", "_at_")] == pytest.approx(ours[f"retrieval/{name}"], rel=1e-5), name


def test_the_revision_tells_weights_and_poolings_apart(m, adapted, weights):
    import dataclasses

    from jaxgpt.evals.mteb import Adapter

    others = [Adapter(m, pooling="cls"), Adapter(dataclasses.replace(m, params=weights(m.model, seed=1)))]
    revisions = {one.mteb_model_meta.revision for one in (adapted, Adapter(m), *others)}
    assert len(revisions) == 3
    with pytest.raises(ConfigError, match="name: 'mine'; expected organisation/model"):
        Adapter(m, "mine")
    with pytest.raises(ConfigError, match="pooling: unknown 'men'"):
        Adapter(m, pooling="men")
