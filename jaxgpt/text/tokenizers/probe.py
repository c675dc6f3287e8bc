"""Tries a `tokenizer.json` out, in a process that may crash, hang or run out of memory: `python probe.py PATHS < FILE`.

Prints `sound`, or one line that says what is wrong. PATHS are the places to import from, as JSON; nothing of jaxgpt is
imported, so that little time goes by.
"""

import json
import resource
import string
import sys
from contextlib import suppress
from typing import Any

SECONDS, RATE = 3, 8 << 20
"""Of processor time, and one more for each so many bytes: four times what vocabularies of 50,000 to 256,000 entries
take."""
MEMORY = 2 << 30
"""Bytes of address space."""
GROWTH = 20
"""How many times as long a text may become before its words are looked up."""
TEXTS = (
    "",
    "a",
    string.printable,
    "The quick brown fox jumps over 13 lazy dogs; naïve, isn't it?\r\n\tdef f(x): return x**2  # état\n",
    "Ελληνικά привет שלום مرحبا नमस्ते สวัสดี 你好 日本語 한국어 Việt ½ Ⅷ ﬁ ﷺ e\u0301\u0327 \u00a0\u200b\u2028\u3000▁▁",
    "🙂 👩‍👩‍👧‍👦 👍🏽 🇨🇭 1️⃣ \U0010ffff \x00\x1b\x7f\x85\ufffd\ufeff",
    *(letter * 2000 for letter in ("a", " ", "\n", "é", "1", "!")),
    "ab" * 2000,
)


def limit(size: int) -> None:
    """Holds this process to the time for `size` bytes and to MEMORY, where the system can, and leaves no core file."""
    for kind, most in (
        (resource.RLIMIT_CPU, SECONDS + size // RATE),
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_CORE, 0),
    ):
        with suppress(OSError, ValueError):
            resource.setrlimit(kind, (most, most))


def words_of(tree: Any) -> list[str]:
    """The texts that the rules of a tokenizer look for, so that they come up."""
    if isinstance(tree, dict):
        own = [tree[key] for key in ("String", "Regex", "content") if isinstance(tree.get(key), str)]
        return own + [word for part in tree.values() for word in words_of(part)]
    return [word for part in tree for word in words_of(part)] if isinstance(tree, list) else []


def try_out(text: str) -> str | None:
    """What is wrong with the tokenizer that `text` spells: everything is done once that is ever done with one."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(text)
    tokenizer.encode_special_tokens = True
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tree = json.loads(text)
    rules = words_of([tree.get("normalizer"), tree.get("pre_tokenizer"), tree.get("decoder")])
    texts = [*TEXTS, *(" ".join(rules[i : i + 50])[:10_000] for i in range(0, min(len(rules), 1000), 50))]
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    if tokenizer.normalizer is not None:
        for part in texts:
            size = len(tokenizer.normalizer.normalize_str(part))
            if size > GROWTH * (len(part) + 10):
                return f"its normalizer makes {size:,} characters of {len(part):,}"
    for special in (False, True):
        for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=special):
            tokenizer.decode(encoding.ids, skip_special_tokens=False)
    tokenizer.encode("a", "b")
    ids = sorted(tokenizer.get_vocab(with_added_tokens=True).values())
    for index in ids[:: max(len(ids) // 2000, 1)]:
        tokenizer.decode([index], skip_special_tokens=False)
    tokenizer.to_str()
    return None


if __name__ == "__main__":
    sys.path[:] = json.loads(sys.argv[1])
    raw = sys.stdin.buffer.read()
    limit(len(raw))
    try:
        problem = try_out(raw.decode())
    except MemoryError:
        problem = "it takes too much memory"
    except BaseException as error:  # the library's panics are no Exception
        name = "the tokenizers library fails on it: " if type(error).__name__ == "PanicException" else ""
        problem = name + (" ".join(str(error).split())[:200] or type(error).__name__)
    print(problem or "sound")
