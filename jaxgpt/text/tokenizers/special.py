"""Text in which special tokens are spelled, as chat templates write them: `<|im_end|>` is one token there, and letters
everywhere else."""

from collections.abc import Callable

import tokenizers as hf

from jaxgpt.text.tokenizers.codec import Codec


def reader(codec: Codec) -> tuple[Callable[[str], list[int]], tuple[str, ...]]:
    """What encodes text with special tokens in it, adding none, and how those are spelled."""
    tokenizer = hf.Tokenizer.from_str(codec.tokenizer_json())
    special = tuple(token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special)
    return lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids), special
