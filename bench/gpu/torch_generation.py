"""Hugging Face's `generate` on GPT-2 124M with random weights: bfloat16, key/value cache, no end-of-text.

Started with GPT2Config's fields, the prompt's length and how to sample. Answers `write ROWS MAX_NEW SAMPLED CACHE` with
seconds; CACHE is `dynamic`, which `generate` uses by itself, or `static`, for which it compiles the step on a GPU.
"""

import json
import sys
import time

import torch
from peer import serve
from transformers import GPT2Config, GPT2LMHeadModel

CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")


def main() -> None:
    fields, prompt, sampling = map(json.loads, sys.argv[1:])
    config = GPT2Config(**fields, bos_token_id=None, eos_token_id=None)
    model = GPT2LMHeadModel(config).to(DEVICE, torch.bfloat16).eval()
    torch.manual_seed(0)

    def write(rows: int, max_new: int, sampled: bool, cache: str) -> float:
        ids = torch.randint(0, config.vocab_size, (rows, prompt)).to(DEVICE)
        how = {"do_sample": True, **sampling} if sampled else {"do_sample": False}
        if cache == "static":
            how["cache_implementation"] = "static"
        start = time.perf_counter()
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_new, **how).tolist()
        took = time.perf_counter() - start
        assert len(out) == rows and {len(row) for row in out} == {prompt + max_new}
        return took

    serve(lambda _, *given: write(*given))


if __name__ == "__main__":
    main()
