"""The parameters and the return value of a skill function, as JSON Schema and as validators."""

import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Final, Never, NoReturn

import msgspec

from agentmesh.errors import InvalidInput, InvalidOutput
from agentmesh.schema.annotations import Annotations, first_line
from agentmesh.schema.places import Misfit, failure, pointer

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails, ValidationError

_Field = tuple[str, Any, Any]
"""Name, type and default (`...` for none) of a parameter that the caller fills in."""

_ANYTHING: Final = (inspect.Parameter.empty, Any, object, "Any", "typing.Any", "object")
_strict_json = json.JSONEncoder(allow_nan=False, ensure_ascii=False).encode


class Parameters:
    """The parameters of a skill function that its caller fills in.

    `schema` is the JSON Schema (2020-12, an object) of a call's input. `context` names the parameter that receives the
    `Context`: the one named `ctx`, or annotated so. With `**rest`, further properties are let through. Raises
    `DeclarationError` naming the parameter that cannot be used. `namespace` is for string annotations that use names
    other than the module's, such as the locals of the function around it.
    """

    def __init__(self, function: Callable[..., Any], namespace: Mapping[str, Any] | None = None) -> None:
        annotations = Annotations(function, namespace)
        self.context: str | None = None
        self._open = False
        fields = list(self._fields(annotations, inspect.signature(function)))
        model = _model(annotations, fields, is_open=self._open)
        self._validator = model.__pydantic_validator__
        self._names = {_inner_name(position): name for position, (name, _, _) in enumerate(fields)}
        self.schema: dict[str, Any] = _schema_of(annotations, "", model, "validation")

    def parse(self, value: Any) -> dict[str, Any]:
        """The keyword arguments that a call's input stands for, in the function's types. Raises `InvalidInput`.

        Nested models, dataclasses, dates and so on arrive as such. No input at all counts as `{}`.
        """
        from pydantic_core import ValidationError

        value = {} if value is None else value
        try:
            model = self._validator.validate_python(value)
        except ValidationError:
            model = self._parse_json(value)
        names = self._names
        arguments = {names[key]: item for key, item in model.__dict__.items()}
        return {**arguments, **model.__pydantic_extra__} if self._open else arguments

    def misfits(self, value: Any) -> list[Misfit]:
        """Every place where an input does not match."""
        from pydantic_core import ValidationError

        try:
            self._parse_json(value)
        except InvalidInput as error:
            cause = error.__cause__
            return _misfits(cause, value) if isinstance(cause, ValidationError) else [Misfit("", str(cause))]
        return []

    def _parse_json(self, value: Any) -> Any:
        """Strict models take a date, an enum or a tuple from JSON, and not from the string or list in Python."""
        from pydantic_core import ValidationError

        try:
            return self._validator.validate_json(msgspec.json.encode(value))
        except ValidationError as error:
            raise failure(InvalidInput, "The input", _misfits(error, value)) from error
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise InvalidInput(f"The input is not JSON data: {error}.") from error

    def _fields(self, annotations: Annotations, signature: inspect.Signature) -> Iterable[_Field]:
        for position, parameter in enumerate(signature.parameters.values()):
            if position == 0 and parameter.name == "self":
                continue
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
                raise annotations.error(parameter.name, "is filled in by name: use ordinary or keyword-only parameters")
            if annotations.is_context(parameter):
                if self.context is not None:
                    raise annotations.error(parameter.name, f"the context is given once, and {self.context!r} has it")
                self.context = parameter.name
            elif parameter.kind == parameter.VAR_KEYWORD:
                if parameter.annotation not in _ANYTHING:
                    raise annotations.error(parameter.name, f"annotate **{parameter.name} with Any")
                self._open = True
            else:
                default = ... if parameter.default is parameter.empty else parameter.default
                yield parameter.name, annotations.type_of(parameter.name, parameter.annotation), default


class Returns:
    """What a skill function returns. `schema` is its JSON Schema, None if the function does not say."""

    def __init__(self, function: Callable[..., Any], namespace: Mapping[str, Any] | None = None) -> None:
        annotations = Annotations(function, namespace)
        kind = annotations.type_of("return", inspect.signature(function).return_annotation)
        self._adapter: Any = None
        self.schema: dict[str, Any] | None = None
        if kind not in (Any, object, Never, NoReturn):
            self._adapter = _adapter(annotations, "return", kind)
            self.schema = _schema_of(annotations, "return", self._adapter, "serialization")

    def dump(self, value: Any) -> Any:
        """The value as JSON data. Raises `InvalidOutput` if it does not match the annotation.

        Without an annotation it may be whatever has a form in JSON, models and dataclasses too.
        """
        try:
            if self._adapter is None:
                return msgspec.json.decode(
                    _strict_json(msgspec.to_builtins(value, str_keys=True, enc_hook=_model_form))
                )
            data = self._dump(value)
            _strict_json(data)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise InvalidOutput(f"The output is not JSON data: {first_line(error)}.") from error
        return data

    def _dump(self, value: Any) -> Any:
        from pydantic_core import PydanticSerializationError, ValidationError

        try:
            checked = self._adapter.validate_python(value)
            return self._adapter.dump_python(checked, mode="json", by_alias=True, warnings="error")
        except ValidationError as error:
            raise failure(InvalidOutput, "The output", _misfits(error, value)) from error
        except PydanticSerializationError as error:
            text = " ".join(str(error).removeprefix("Pydantic serializer warnings:").split())
            raise InvalidOutput(f"The output does not match its type: {text}") from error


def convert(value: Any, kind: Any) -> Any:
    """JSON data as the type `kind`. Raises `InvalidOutput`: whoever made the data promised something else."""
    from pydantic_core import ValidationError

    try:
        return _adapter_of(kind).validate_json(msgspec.json.encode(value))
    except ValidationError as error:
        raise failure(InvalidOutput, "The result", _misfits(error, value)) from error


def _adapter_of(kind: Any) -> Any:
    from pydantic import TypeAdapter

    make = _cached_adapter if isinstance(kind, type) else TypeAdapter
    return make(kind)


@lru_cache(maxsize=256)
def _cached_adapter(kind: type) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _inner_name(position: int) -> str:
    """A name for the parameter at `position` that no model has of its own; the real one is its alias."""
    return f"p{position}"


def _model(annotations: Annotations, fields: list[_Field], *, is_open: bool) -> Any:
    from pydantic import ConfigDict, Field, create_model
    from pydantic.fields import FieldInfo

    definitions: dict[str, Any] = {}
    for position, (name, kind, default) in enumerate(fields):
        if isinstance(default, FieldInfo):
            definitions[_inner_name(position)] = (Annotated[kind, default], Field(alias=name))
        else:
            definitions[_inner_name(position)] = (kind, Field(default, alias=name))
    try:
        model = create_model("Input", __config__=ConfigDict(extra="allow" if is_open else "forbid"), **definitions)
        model.model_rebuild(force=not model.__pydantic_complete__, _types_namespace=annotations.names)
    except Exception as error:
        for name, kind, _ in fields:
            _schema_of(annotations, name, _adapter(annotations, name, kind), "validation")
        raise annotations.error("", f"the parameters have no JSON Schema: {first_line(error)}") from error
    return model


def _adapter(annotations: Annotations, name: str, kind: Any) -> Any:
    from pydantic import TypeAdapter

    try:
        adapter: Any = TypeAdapter(kind)
        if not adapter.pydantic_complete:
            adapter.rebuild(force=True, _types_namespace=annotations.names)
    except Exception as error:
        raise annotations.error(name, f"there is no JSON Schema of its type: {first_line(error)}") from error
    return adapter


def _schema_of(annotations: Annotations, name: str, source: Any, mode: str) -> dict[str, Any]:
    generate = getattr(source, "model_json_schema", None) or source.json_schema
    try:
        schema: dict[str, Any] = generate(by_alias=True, mode=mode, schema_generator=without_titles())
    except Exception as error:
        raise annotations.error(name, f"there is no JSON Schema of its type: {first_line(error)}") from error
    schema.pop("title", None)
    return schema


@cache
def without_titles() -> type:
    """pydantic's generator without a title per field: it repeats the name, and models are paid by the word."""
    from pydantic.json_schema import GenerateJsonSchema

    class WithoutTitles(GenerateJsonSchema):
        ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012

        def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
            return False

    return WithoutTitles


def _model_form(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", by_alias=True)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _misfits(error: "ValidationError", value: Any) -> list[Misfit]:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [Misfit(pointer(_steps(each, value)), each["msg"]) for each in found]


def _steps(details: "ErrorDetails", value: Any) -> Iterable[str | int]:
    """The way to a mistake within `value`: pydantic's, without the names of the types that it tried on its way."""
    last = len(details["loc"]) - 1
    for position, step in enumerate(details["loc"]):
        try:
            value = getattr(value, str(step)) if _has_fields(value) else value[step]
        except (LookupError, TypeError, AttributeError):
            if position != last or details["type"] != "missing":
                continue
        yield step


def _has_fields(value: Any) -> bool:
    return not isinstance(value, dict | list | tuple | str)
