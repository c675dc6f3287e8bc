"""The characters a word vocabulary starts from, chosen so that training it again gives the same ids.

`tokenizers` numbers marked characters (`a</w>`, `##a`) in the order of a hash map that differs from run to run, and ids
break ties between merges. Giving it every base symbol up front, as GPT-1's 478 were, makes training deterministic.
"""

from collections import Counter
from typing import TYPE_CHECKING

from jaxgpt.text.tokenizers.tokenizer import Texts

if TYPE_CHECKING:
    import tokenizers as hf


def most_frequent(texts: Texts, normalizer: "hf.normalizers.Normalizer", limit: int) -> list[str]:
    """The `limit` most frequent characters of the normalised texts, white space excepted, in code point order."""
    counts: Counter[str] = Counter()
    for text in texts():
        counts.update(normalizer.normalize_str(text))
    ranked = sorted((symbol for symbol in counts if not symbol.isspace()), key=lambda symbol: (-counts[symbol], symbol))
    return sorted(ranked[:limit])
