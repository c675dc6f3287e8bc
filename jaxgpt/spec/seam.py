"""Seams: the places where research swaps one thing. The declaration is the registration.

    class Position(Seam, seam="position"): ...       # opens a seam
    class Rotary(Position): theta: float = 1e4       # joins it: `kind: rotary` works everywhere from here on

A field annotated with the seam's base accepts an instance, a mapping with `kind`, or the bare kind as a string.
"""

import inspect
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import GetCoreSchemaHandler, SerializerFunctionWrapHandler, model_serializer
from pydantic_core import PydanticCustomError, core_schema

from jaxgpt.spec.base import Spec
from jaxgpt.spec.errors import did_you_mean, quote

_SEAMS: dict[str, type["Seam"]] = {}


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


class Seam(Spec):
    """Base of all seams. `kind` is the class name in snake case unless given: `class GELU(Activation, kind="gelu")`."""

    seam: ClassVar[str] = ""
    kind: ClassVar[str] = ""
    citation: ClassVar[str] = ""
    """The paper and section a member comes from; `jaxgpt list` shows it."""
    _members: ClassVar[dict[str, type["Seam"]]] = {}

    def __init_subclass__(
        cls, *, seam: str | None = None, kind: str | None = None, default: str | None = None, **kwargs: Any
    ):
        super().__init_subclass__(**kwargs)
        cls.kind = kind or _snake(cls.__name__)
        if seam is not None:
            cls.seam, cls.default_kind, cls._members = seam, default, {}
            _SEAMS[seam] = cls

    @classmethod
    def __pydantic_init_subclass__(cls, *, seam: str | None = None, kind: str | None = None, **kwargs: Any):
        super().__pydantic_init_subclass__(**kwargs)
        if cls._is_open():
            return
        declared = cls._members.get(cls.kind)
        if declared is not None and not _same(declared, cls):
            raise TypeError(
                f"{cls.seam} kind '{cls.kind}' is already declared by {declared.__module__}.{declared.__qualname__}"
            )
        cls._members[cls.kind] = cls

    @classmethod
    def _is_open(cls) -> bool:
        """Whether a field of this type may hold any member: true for a seam's base and its abstract subclasses."""
        return cls.seam == "" or _SEAMS[cls.seam] is cls or inspect.isabstract(cls)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        if not cls._is_open():  # a member validates itself, after its own `kind` key is checked and dropped
            return core_schema.no_info_before_validator_function(cls._check_kind, handler(source))
        return core_schema.no_info_plain_validator_function(
            cls._dispatch,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda value: value.model_dump()),
        )

    @classmethod
    def class_of(cls, value: Any) -> type[Spec]:
        """The member that `value` names, as far as it names one."""
        if not cls._is_open():
            return cls
        kind = value.get("kind", cls.default_kind) if isinstance(value, Mapping) else value
        return cls._members.get(kind, cls) if isinstance(kind, str) else cls

    @classmethod
    def _check_kind(cls, value: Any) -> Any:
        if isinstance(value, dict) and "kind" in value:
            if value["kind"] != cls.kind:
                raise PydanticCustomError("kind", "expected kind '{want}'", {"want": cls.kind})
            value = {name: item for name, item in value.items() if name != "kind"}
        return value

    @classmethod
    def _dispatch(cls, value: Any) -> "Seam":
        if isinstance(value, cls):
            return value
        if value is None and "none" in cls._members:  # YAML reads `none` as the word but `null` and `~` as None
            value = "none"
        if isinstance(value, str):
            value = {"kind": value}
        if not isinstance(value, dict):
            message = "expected a {seam}: a kind or a mapping with 'kind', got {value}"
            raise PydanticCustomError("seam", message, {"seam": cls.seam, "value": quote(value)})
        kind = value.get("kind", cls.default_kind)
        known = {name: member for name, member in cls._members.items() if issubclass(member, cls)}
        member = known.get(kind) if isinstance(kind, str) else None
        if member is None:
            hint = did_you_mean(kind if isinstance(kind, str) else "", known)
            message = "'kind' is missing" if kind is None else "unknown {seam} kind {kind}"
            raise PydanticCustomError("kind", message + "{hint}", {"seam": cls.seam, "kind": quote(kind), "hint": hint})
        return member.model_validate(value)

    @model_serializer(mode="wrap")
    def _with_kind(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {"kind": self.kind, **handler(self)}


def _same(a: type, b: type) -> bool:
    """Whether one class was declared twice: by its module imported again, or by the copy that a sweep keeps of it."""
    if a.__qualname__ != b.__qualname__:
        return False
    return inspect.getfile(a) == inspect.getfile(b) or inspect.getsource(a) == inspect.getsource(b)


def seams() -> dict[str, type[Seam]]:
    """Every seam that has been declared, by name."""
    return dict(sorted(_SEAMS.items()))


def members(seam: str) -> dict[str, type[Seam]]:
    """Every concrete member of a seam, by kind. Raises KeyError for an unknown seam."""
    return dict(sorted(_SEAMS[seam]._members.items()))
