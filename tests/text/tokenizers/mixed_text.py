"""Lines of mixed scripts, emoji, code and odd white space, drawn from a seed."""

import random

CODE = [
    "def f(x: int) -> str:",
    "\treturn [i**2 for i in range(10_000)]",
    "    if (a[i] != b->c && !done) { x += 0x7fFF; }",
    "#include <stdio.h>\r",
    'printf("%5.2f\\n", sum/n);',
    "SELECT * FROM t WHERE id>=42;",
    "<div class='a-b'>&nbsp;</div>",
    'git commit -m "don\'t"',
    "λ x → x·y ≠ ∅",
    "https://example.org/a_b?q=%20&x=1#top",
    "<s></s><unk><|endoftext|><0x0A>[CLS]",
]
TEXT = (
    "the of and banana lighthouse don't we'LL I'm they'Ve O'Neill's naïve café Zürich STRASSE straße İstanbul ﬁnd "
    "e\u0301\u0327 привет мир Ελληνικά שלום مرحبا नमस्ते สวัสดี 你好 世界 日本語 カタカナ 한국어 tiếng Việt 1234 3.14 ½ Ⅷ "
    "٣٤ १२ x²"
)
WORDS = TEXT.split()
EMOJI = ["🙂", "👩‍👩‍👧‍👦", "👍🏽", "🇨🇭", "❤️", "1️⃣", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🤷🏿‍♀️"]
SPACES = [
    " ",
    " ",
    " ",
    "  ",
    "    ",
    "\t",
    "\n",
    "\n\n",
    "\r\n",
    "\u00a0",
    "\u3000",
    "\u2009",
    "\u200b",
    "\u2028",
    "▁",
    "",
]
RANGES = [
    (0x00, 0xFF),
    (0x100, 0x24F),
    (0x300, 0x36F),
    (0x370, 0x5FF),
    (0x600, 0xDFF),
    (0x1E00, 0x23FF),
    (0x2500, 0x2BFF),
    (0x3040, 0x30FF),
    (0x4E00, 0x9FFF),
    (0xAC00, 0xD7A3),
    (0xE000, 0xE0FF),
    (0xFB00, 0xFFFD),
    (0x1D400, 0x1D7FF),
    (0x1F300, 0x1FAFF),
    (0x20000, 0x200FF),
]


def mixed_lines(count: int, seed: int = 0) -> list[str]:
    """`count` lines, the same for the same seed."""
    rng = random.Random(seed)

    def part() -> str:
        kind = rng.random()
        if kind < 0.5:
            return rng.choice(WORDS)
        if kind < 0.6:
            return rng.choice(CODE)
        if kind < 0.7:
            return rng.choice(EMOJI)
        if kind < 0.8:
            return rng.choice("a-=_.!\u0301 0é▁日🙂") * rng.randrange(1, 20)
        first, last = rng.choice(RANGES)
        return "".join(chr(rng.randint(first, last)) for _ in range(rng.randrange(1, 6)))

    return ["".join(part() + rng.choice(SPACES) for _ in range(rng.randrange(12))) for _ in range(count)]
