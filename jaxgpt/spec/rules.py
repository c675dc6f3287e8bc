"""Rules that name things by their paths: regular expressions, one of which must be found in a path."""

import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from jaxgpt.spec.errors import quote


def check_rule(rule: str) -> str:
    """The rule as it is. Raises ValueError where it is no regular expression."""
    try:
        re.compile(rule)
    except re.error as error:
        raise ValueError(f"{quote(rule)} is no regular expression: {error}") from None
    return rule


Rule = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(check_rule)]


def names(rules: Sequence[str], path: str) -> bool:
    """Whether one of the rules is found in the path."""
    return any(re.search(rule, path) for rule in rules)
