"""Hugging Face `roberta`: FacebookAI/roberta-base and -large, with pooler and masked head.

Of their 514 positions the first two are never those of a token: positions start behind the padding id, 1.
"""

from jaxgpt.interop.families.bert import BODY, BUFFERS, OLD
from jaxgpt.interop.families.encoder_config import Dialect, Heads, encoder_family
from jaxgpt.interop.families.rows import dense, norm
from jaxgpt.interop.families.task_classes import TaskClass, with_task_classes
from jaxgpt.interop.name_map import NameMap, Row
from jaxgpt.models import RoBERTa
from jaxgpt.ops.activations import GELU

NAMES = NameMap(
    rows=(
        *BODY,
        Row("lm_head.bias", ("lm_head/bias",), bare=True),
        *dense("lm_head.dense", "lm_head/dense", bare=True),
        *norm("lm_head.layer_norm", "lm_head/norm", bare=True),
    ),
    prefix="roberta.",
    buffers=BUFFERS,
    copies={"lm_head.decoder.weight": "embeddings.word_embeddings.weight", "lm_head.decoder.bias": "lm_head.bias"},
    renames=OLD,
)
DIALECT = Dialect(
    model_type="roberta",
    defaults={"vocab_size": 50265, "pad_token_id": 1},
    offset=True,
    head_activation=GELU(),
    heads={"RobertaModel": Heads(pooler=True), "RobertaForMaskedLM": Heads(masked=True)},
)
FAMILY = with_task_classes(
    encoder_family(RoBERTa, NAMES, DIALECT, masked_head="lm_head.bias"),
    TaskClass(
        "RobertaForSequenceClassification",
        "classifier.out_proj",
        pooler="classifier.dense",
        dropout="classifier_dropout",
    ),
    TaskClass("RobertaForMultipleChoice", "classifier", candidates=True),
)
