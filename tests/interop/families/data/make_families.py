"""Makes families.npz beside it: weights, tokens and logits of two random models of transformers. Needs torch.

    python tests/interop/families/data/make_families.py

Weights are multiples of 1/256, so that float16 holds them exactly.
"""

import json
from pathlib import Path

import numpy as np
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM

SIZES = {"vocab_size": 23, "num_hidden_layers": 2, "max_position_embeddings": 32, "intermediate_size": 20}
ROPE = {"rope_type": "llama3", "factor": 4.0, "original_max_position_embeddings": 16}
ROPE |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "rope_theta": 100.0}
MODELS = {
    "llama": LlamaForCausalLM(
        LlamaConfig(**SIZES, hidden_size=16, num_attention_heads=4, num_key_value_heads=2, rope_parameters=ROPE)
    ),
    "gpt_neox": GPTNeoXForCausalLM(
        GPTNeoXConfig(**SIZES, hidden_size=18, num_attention_heads=3, rotary_pct=0.67, rotary_emb_base=50)
    ),
}


def main() -> None:
    draw = np.random.default_rng(0)
    out = {}
    for name, model in MODELS.items():
        with torch.no_grad():
            for path, tensor in model.named_parameters():
                gain = 1.0 if "norm" in path and path.endswith("weight") else 0.0
                values = np.round(256 * draw.normal(gain, 0.25, tensor.shape)) / 256
                tensor.copy_(torch.from_numpy(values))
                out[f"{name}/tensors/{path}"] = values.astype(np.float16)
        ids = draw.integers(0, SIZES["vocab_size"], (2, 20))
        out[f"{name}/ids"] = ids.astype(np.int32)
        with torch.no_grad():
            out[f"{name}/logits"] = model.eval()(torch.from_numpy(ids)).logits.numpy()
        out[f"{name}/config"] = np.array(json.dumps(model.config.to_dict()))
    np.savez_compressed(Path(__file__).with_name("families.npz"), **out)


if __name__ == "__main__":
    main()
