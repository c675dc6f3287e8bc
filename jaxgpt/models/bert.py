"""BERT: Devlin et al. 2019, BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding."""

from typing import Any, ClassVar

from jaxgpt.models.encoder import Encoder

BASE = {"num_layers": 12, "d_model": 768, "num_heads": 12}
LARGE = {"num_layers": 24, "d_model": 1024, "num_heads": 16}
MINI = {"d_model": 384, "num_heads": 12}


class BERT(Encoder, kind="bert"):
    """Post-norm, learned positions, two segments, exact GELU, a pooler and a tied masked head.

    Checkpoints: google-bert/bert-base-uncased and so on; the MiniLM sizes (Wang et al. 2020) are
    nreimers/MiniLM-L6-H384-uncased, of which sentence-transformers/all-MiniLM-L6-v2 was trained, and
    microsoft/MiniLM-L12-H384-uncased.
    """

    citation = "Devlin et al. 2019, section 3"
    sizes: ClassVar[dict[str, dict[str, Any]]] = {
        "base_uncased": BASE | {"vocab_size": 30522},
        "base_cased": BASE | {"vocab_size": 28996},
        "large_uncased": LARGE | {"vocab_size": 30522},
        "large_cased": LARGE | {"vocab_size": 28996},
        "minilm_l6": MINI | {"num_layers": 6, "vocab_size": 30522},
        "minilm_l12": MINI | {"num_layers": 12, "vocab_size": 30522},
    }
