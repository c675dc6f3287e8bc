"""The benchmark `mteb` on a model of ours: `mteb.evaluate(Adapter(jaxgpt.load(path)), mteb.get_tasks(...))`.

Muennighoff et al. 2023, MTEB. Needs the extra `mteb`, and with it torch.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from jaxgpt.evals.vectors import encode_once
from jaxgpt.spec import ConfigError

try:
    from mteb.models import ModelMeta
    from mteb.models.abs_encoder import AbsEncoder
    from mteb.models.model_meta import ScoringFunction
except ImportError:
    raise ConfigError("mteb: is not installed; pip install 'jaxgpt[mteb]'") from None

PROBE = "The quick brown fox jumps over the lazy dog."


class Encoder(Protocol):
    """What `jaxgpt.load` gives."""

    def encode(
        self, texts: Sequence[str], batch_size: int = 32, pooling: str | None = None, quiet: bool = False
    ) -> np.ndarray:
        """Embeddings of the texts, float32 (N, D)."""


class Adapter(AbsEncoder):
    """An encoder as mteb calls it, by cosine, with the recipe that came with the weights or another pooling.

    mteb keeps results by name and revision: the revision is a digest of one text's vector, so that no other weights'
    are taken for these. What mteb would put in front of texts, by task or as an instruction, is left out.
    """

    def __init__(self, loaded: Encoder, name: str = "jaxgpt/model", pooling: str | None = None):
        """`name` is `organisation/model`. Raises ConfigError for another form, and for a pooling that is not known."""
        if name.count("/") != 1:
            raise ConfigError(f"name: '{name}'; expected organisation/model, as mteb files its results")
        self.loaded, self.pooling = loaded, pooling
        vector = np.asarray(loaded.encode([PROBE], pooling=pooling, quiet=True), np.float32)
        self.mteb_model_meta = ModelMeta.create_empty(
            {
                "name": name,
                "revision": hashlib.sha256(vector.tobytes()).hexdigest()[:16],
                "embed_dim": vector.shape[1],
                "framework": ["JAX"],
                "similarity_fn_name": ScoringFunction.COSINE,
            }
        )

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: Any = None,
        batch_size: int = 32,
        show_progress_bar: bool = True,
        **_: Any,
    ) -> np.ndarray:
        """float32 (N, D) of the batches' `text`; each distinct text is encoded once."""
        texts = [text for batch in inputs for text in batch["text"]]

        def encode(distinct: list[str]) -> np.ndarray:
            return self.loaded.encode(distinct, batch_size, self.pooling, not show_progress_bar)

        vectors_UD, (rows,) = encode_once(encode, texts)
        return vectors_UD[rows]
