"""Sliding windows as configurations of transformers name them: one width, and which layers have it."""

from collections.abc import Callable, Sequence
from typing import Any

from jaxgpt.interop.hugging_face.config import Config, cycle
from jaxgpt.ops.patterns import Banded, Causal, Pattern
from jaxgpt.spec.errors import quote

FULL, SLIDING = "full_attention", "sliding_attention"


def window(width: int, context: int) -> Pattern:
    """The last `width` tokens, the own one included; all of them where no text is as long."""
    return Banded(window=width) if width <= context else Causal()


def width_of(patterns: Sequence[Pattern]) -> int | None:
    """The width of the first window among them."""
    return next((pattern.window for pattern in patterns if isinstance(pattern, Banded)), None)


def read_layer_types(
    config: Config, layers: int, context: int, width: int | None, slides: Callable[[int], bool]
) -> tuple[Pattern, ...]:
    """Patterns from `layer_types`; `slides` says which layers have a window where the key is absent."""
    if config.problems:  # the number of layers may be one of them
        return (Causal(),)
    types = config("layer_types") or [SLIDING if slides(i) else FULL for i in range(layers)]
    known = isinstance(types, list) and len(types) == layers and all(kind in (FULL, SLIDING) for kind in types)
    if not known:
        config.problems.append(
            f"layer_types: {quote(types)}; expected '{FULL}' or '{SLIDING}' for each of {layers} layers"
        )
        return (Causal(),)
    if width is None and SLIDING in types:
        config.problems.append("layer_types: some layers slide, but there is no sliding_window; add its width")
        return (Causal(),)
    return cycle([Causal() if kind == FULL or width is None else window(width, context) for kind in types])


def layer_types(patterns: Sequence[Pattern]) -> list[str]:
    """What they call each layer's pattern."""
    return [SLIDING if isinstance(pattern, Banded) else FULL for pattern in patterns]


def layer_type_keys(patterns: Sequence[Pattern]) -> dict[str, Any]:
    """Keys of Qwen's configurations, where later layers may slide."""
    types = layer_types(patterns)
    return {
        "use_sliding_window": SLIDING in types,
        "sliding_window": width_of(patterns),
        "max_window_layers": types.index(SLIDING) if SLIDING in types else len(types),
        "layer_types": types,
    }
