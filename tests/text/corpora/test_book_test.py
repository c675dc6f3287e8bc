"""What is no Children's Book Test, or not all of it, is one line with its place."""

import pytest

from jaxgpt.spec import ConfigError
from jaxgpt.text.corpora.formats import BookTest

BLOCK = "1 A dog ran .\n2 The XXXXX was glad .\tdog\t\tdog|cat\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BLOCK + "1 A dog ran .\n", ":3: ends within a block"),
        ("Once upon a time\n", ":1: expected a number, a space and a sentence"),
        (BLOCK + "1\n", ":3: expected a number, a space and a sentence"),
        (BLOCK.replace("XXXXX", "dog"), ":2: expected a sentence with XXXXX"),
        (BLOCK.replace("dog|cat", "cow|cat"), ":2: expected a sentence with XXXXX"),
    ],
)
def test_a_damaged_block_is_one_line(tmp_path, text, said):
    path = tmp_path / "cbtest_NE.txt"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"^{path}{said}") as caught:
        list(BookTest().records(path))
    assert len(str(caught.value).splitlines()) == 1
