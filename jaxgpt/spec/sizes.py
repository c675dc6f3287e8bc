"""Types of fields that say how large or how many: above 0, and below what would only run out of memory or time.

The bounds are far above anything that was ever trained. They are what lets a stranger's config be refused in one line
instead of being built.
"""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

INT32 = 2**31 - 1

Count = Annotated[int, Field(gt=0, le=2**16)]
"""Of things that stand side by side: heads, experts, columns, devices along an axis, workers."""
Layers = Annotated[int, Field(gt=0, le=10_000)]
"""Of things that come one after another and are compiled or started one by one."""
Width = Annotated[int, Field(gt=0, le=2**20)]
"""Channels of a token."""
Length = Annotated[int, Field(gt=0, le=2**24)]
"""Of a row in tokens, a batch in rows, a table in rows."""
Index = Annotated[int, Field(ge=0, le=2**24)]
"""Into a table of such a length: an id, a shift."""
Steps = Annotated[int, Field(gt=0, le=INT32)]
"""Of training, and what is counted in steps: the device's counter has 31 bits."""
if TYPE_CHECKING:
    SettledSteps = int
else:
    SettledSteps = Steps | None
"""Steps that may be left to the data to settle: None until then, and a number wherever a run is computed."""
Tokens = Annotated[int, Field(gt=0, le=10**18)]
"""Of a corpus or a run, or its bytes."""
