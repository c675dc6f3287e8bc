"""The Spec: a frozen, strict value, so that it serves as a jit static argument and as a Linen field."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from jaxgpt.spec.explain import explain
from jaxgpt.spec.plain import plain


class Spec(BaseModel):
    """Base of every configuration value.

    Unknown fields are refused, instances are frozen and hashable, numbers are numbers and finite (see
    jaxgpt.spec.plain). Sequences are declared as tuples so that the hash holds.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True, protected_namespaces=()
    )

    inputs: ClassVar[tuple[str, ...]] = ()
    switches: ClassVar[tuple[str, ...]] = ()
    """See jaxgpt.spec.inputs."""
    default_kind: ClassVar[str | None] = None
    """Of a seam, the kind of a mapping without `kind`; None: it must have one."""
    formerly: ClassVar[Mapping[str, str]] = {}
    """Names that fields had in older versions, which errors translate."""

    @field_validator("*", mode="before")
    @classmethod
    def _plainly(cls, value: Any, info: ValidationInfo) -> Any:
        return plain(value, cls.model_fields[str(info.field_name)].annotation)

    @property
    def open_inputs(self) -> tuple[str, ...]:
        """Fields that a program takes as inputs: `inputs`, where a class does not let others of them decide."""
        return self.inputs

    @classmethod
    def class_of(cls, value: Any) -> type["Spec"]:
        """The class by which a field of this type validates `value`."""
        return cls

    def evolve(self, **changes: object) -> Self:
        """A copy with some fields changed, validated again (pydantic's `model_copy` does not validate). Raises
        ConfigError where they do not fit."""
        fields = {name: getattr(self, name) for name in type(self).model_fields} | changes
        try:
            return type(self).model_validate(fields)
        except ValidationError as error:
            raise explain(type(self), fields, error) from None
