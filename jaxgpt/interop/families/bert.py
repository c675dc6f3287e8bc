"""Hugging Face `bert`: google-bert/bert-base-uncased and its kin, MiniLM too, with all heads of pre-training."""

from jaxgpt.interop.families.encoder_config import Dialect, Heads, encoder_family
from jaxgpt.interop.families.rows import LAYER, dense, norm
from jaxgpt.interop.families.task_classes import TaskClass, with_task_classes
from jaxgpt.interop.name_map import NameMap, Row
from jaxgpt.models import BERT

BODY = (
    Row("embeddings.word_embeddings.weight", ("embed/token",)),
    Row("embeddings.position_embeddings.weight", ("embed/position",)),
    Row("embeddings.token_type_embeddings.weight", ("embed/token_type",)),
    *norm("embeddings.LayerNorm", "norm_embed"),
    *dense("encoder.layer.{i}.attention.self.query", f"{LAYER}/attention/q"),
    *dense("encoder.layer.{i}.attention.self.key", f"{LAYER}/attention/k"),
    *dense("encoder.layer.{i}.attention.self.value", f"{LAYER}/attention/v"),
    *dense("encoder.layer.{i}.attention.output.dense", f"{LAYER}/attention/o"),
    *norm("encoder.layer.{i}.attention.output.LayerNorm", f"{LAYER}/norm_attention"),
    *dense("encoder.layer.{i}.intermediate.dense", f"{LAYER}/feed_forward/up"),
    *dense("encoder.layer.{i}.output.dense", f"{LAYER}/feed_forward/down"),
    *norm("encoder.layer.{i}.output.LayerNorm", f"{LAYER}/norm_feed_forward"),
    *dense("pooler.dense", "pooler/dense"),
)
"""What BERT and RoBERTa share."""
BUFFERS = r"embeddings\.(position_ids|token_type_ids)"
OLD = ((r"LayerNorm\.gamma$", "LayerNorm.weight"), (r"LayerNorm\.beta$", "LayerNorm.bias"))
"""Names of TensorFlow's time."""
NAMES = NameMap(
    rows=(
        *BODY,
        Row("cls.predictions.bias", ("lm_head/bias",), bare=True),
        *dense("cls.predictions.transform.dense", "lm_head/dense", bare=True),
        *norm("cls.predictions.transform.LayerNorm", "lm_head/norm", bare=True),
        *dense("cls.seq_relationship", "next_sentence", bare=True),
    ),
    prefix="bert.",
    buffers=BUFFERS,
    copies={
        "cls.predictions.decoder.weight": "embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    },
    renames=OLD,
)
DIALECT = Dialect(
    model_type="bert",
    defaults={},
    offset=False,
    head_activation=None,
    heads={
        "BertModel": Heads(pooler=True),
        "BertForMaskedLM": Heads(masked=True),
        "BertForPreTraining": Heads(pooler=True, masked=True, next_sentence=True),
        "BertForNextSentencePrediction": Heads(pooler=True, next_sentence=True),
    },
)
FAMILY = with_task_classes(
    encoder_family(BERT, NAMES, DIALECT, masked_head="cls.predictions.bias"),
    TaskClass("BertForSequenceClassification", "classifier", dropout="classifier_dropout"),
    TaskClass("BertForMultipleChoice", "classifier", candidates=True, dropout="classifier_dropout"),
)
