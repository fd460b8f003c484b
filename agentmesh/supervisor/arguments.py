"""Arguments of a call: what they are held against, and what a text gives of them."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from agentmesh.schema import Checked, schema_mistakes
from agentmesh.supervisor.choices import choices_of, named
from agentmesh.supervisor.numbers import Number
from agentmesh.supervisor.places import Role
from agentmesh.supervisor.references import not_null, resolved
from agentmesh.supervisor.said import Said
from agentmesh.supervisor.units import alike, words_of

TEXT_NAMES = ("request", "goal", "query", "question", "text", "prompt", "message", "input", "body", "content")
"""Parameters that take what was said, in words."""
DEEPEST = 3
LONGEST_CHECKED = 50_000
"""Characters of a schema that a value is held against here; beyond that, the agent does it."""


def _naming(english: str, chinese: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![a-z])(?:{english})(?![a-z])|{chinese}")


_LAST = _naming("end|to|until|till|last|checkout|out|return|back|through", "结束|截止|返程|离店|退房")
_FROM = _naming("from|origin|start|source|depart|departure|leaving", "出发|起点|始发")
_TO = _naming("to|destination|dest|target|arrive|arrival|going", "到达|目的|终点")
_PLACE = _naming(
    "city|town|place|location|origin|destination|where|country|region|airport|station", "城市|地点|地名|目的地|出发地"
)
_SWITCH = _naming("on|power|enabled|open|active", "打开|开关|开启")
_ON = re.compile(r"打开|开启|开灯|启用|(?<![a-z])(?:on|enable|start|open)(?![a-z])", re.IGNORECASE)
_OFF = re.compile(r"关掉|关闭|关上|关灯|关|禁用|(?<![a-z])(?:off|disable|stop|close)(?![a-z])", re.IGNORECASE)
_NOT = re.compile(r"(?:不|没|无|别|勿|免|without|\bno|\bnot|n't)[^，,。.]{0,6}$", re.IGNORECASE)
_T = TypeVar("_T")
_SURE = 2.0
"""From this on, the words around a number are those of the parameter."""
_UNSAFE = re.compile(r"\([^)]*[+*}][^)]*\)[+*{]")
"""Repeated repetition: a pattern that may take for ever."""


def checked(schema: Mapping[str, Any]) -> Checked | None:
    """What to hold arguments against; nothing for a schema that is itself wrong or refers to other documents: what the
    agent makes of it is for the agent to say."""
    return None if schema_mistakes(schema) else Checked(schema)


class Filled(msgspec.Struct, frozen=True):
    """Arguments, and the names of the required parameters that are not among them. `evidence` says how much the
    arguments speak for the skill: a word for one of its choices does much, a date that any skill may take little."""

    values: dict[str, Any]
    missing: list[str]
    evidence: float = 0.0


def fill(parameters: Mapping[str, Any], text: str, now: datetime, whole: str = "") -> Filled:
    """Arguments from a text; days and places that it does not name, from the `whole` that it is a part of.

    Parameters take what fits their types, in order: dates and times (relative ones from `now`), numbers by the words
    around them, places, the values of enumerations by the words for them, addresses, and yes or no. A parameter named
    as in `TEXT_NAMES`, or else the only required string that is none of these, gets the text itself. Optional
    parameters get only what the text clearly means for them. Nothing is given that the schema does not take.
    """
    filled = _Filling(parameters, Said(text, now)).filled()
    if not filled.missing or not whole or whole == text:
        return filled
    around = _Filling(parameters, Said(whole, now))
    shared = {name: value for name, value in around.filled().values.items() if around.is_shared(name)}
    values = {name: value for name, value in shared.items() if name in filled.missing} | filled.values
    return Filled(values, [name for name in filled.missing if name not in values], filled.evidence)


def typed(name: str, parameters: Mapping[str, Any]) -> bool:
    """Whether the parameter takes something of a form of its own, rather than words or whole objects."""
    return _Filling(parameters, Said("", datetime.fromtimestamp(0).astimezone())).is_typed(name)


def only(name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of one parameter, required, with the definitions that it may refer to."""
    return {"properties": {name: parameters["properties"].get(name, {})}, "required": [name]} | _definitions(parameters)


def text_parameters(parameters: Mapping[str, Any]) -> set[str]:
    """The required parameters that take what was said."""
    properties = parameters.get("properties", {})
    strings = [
        name
        for name in parameters.get("required", ())
        if isinstance(name, str)
        and name in properties
        and is_text(name, not_null(properties[name], parameters), parameters)
    ]
    given = {name for name in strings if name in TEXT_NAMES}
    return given or (set(strings) if len(strings) == 1 else set())


def is_text(name: str, schema: Mapping[str, Any], root: Mapping[str, Any]) -> bool:
    """Whether this takes words of any form."""
    if types(schema, root) - {"null"} != {"string"} or {"format", "pattern"} & schema.keys() or choices_of(schema):
        return False
    return not _is_place(name, schema)


def types(schema: Any, root: Mapping[str, Any], depth: int = 8) -> set[str]:
    """The JSON types that a schema allows; empty if it does not say, or not within `depth` steps."""
    schema = resolved(schema, root)
    told = schema.get("type")
    found = {each for each in (told if isinstance(told, list) else [told]) if isinstance(each, str)}
    for branches in (schema.get("anyOf"), schema.get("oneOf")):
        for branch in branches if isinstance(branches, list) and depth else ():
            found |= types(branch, root, depth - 1)
    return found | ({"number"} if "integer" in found else set())


class _Filling:
    """One object's parameters, being filled from what is said."""

    def __init__(self, parameters: Mapping[str, Any], said: Said, depth: int = DEEPEST) -> None:
        self.parameters = parameters
        self.said = said
        self.depth = depth
        properties = parameters.get("properties", {})
        self.properties = {name: not_null(each, parameters) for name, each in properties.items()}
        self.required = [name for name in parameters.get("required", ()) if isinstance(name, str)]
        self.texts = text_parameters(parameters)
        self.pools: dict[frozenset[Any], list[tuple[int, Any]]] = {}
        self.evidence = 0.0

    def filled(self) -> Filled:
        values: dict[str, Any] = {}
        for name in [*self.required, *(name for name in self.properties if name not in self.required)]:
            if name not in self.texts:
                self._put(values, name, self._typed(name, self.properties.get(name, {}), name in self.required))
        for name, number in self._numbers().items():
            self._put(values, name, number)
        self._put_text(values)
        missing = [
            name for name in self.required if name not in values and "default" not in self.properties.get(name, {})
        ]
        return Filled({name: values[name] for name in self.properties if name in values}, missing, self.evidence)

    def is_typed(self, name: str) -> bool:
        schema = self.properties.get(name, {})
        kinds = types(schema, self.parameters)
        if kinds == {"array"}:
            return self.depth > 0 and _Filling(self._items(schema), self.said, 0).is_typed("item")
        if not kinds & {"string", "number", "boolean"} or kinds & {"object", "array"}:
            return bool(choices_of(schema))
        return not is_text(name, schema, self.parameters)

    def is_shared(self, name: str) -> bool:
        """Whether it takes a day or a place, which are said once for several things."""
        schema = self.properties.get(name, {})
        if types(schema, self.parameters) - {"null"} != {"string"} or choices_of(schema):
            return False
        return schema.get("format") in ("date", "date-time") or _is_place(name, schema)

    def _put(self, values: dict[str, Any], name: str, value: Any) -> None:
        if value is not None and _fits(name, value, self.parameters):
            values[name] = value

    def _put_text(self, values: dict[str, Any]) -> None:
        """The text goes to those that take it: only its quotation, if other parameters have the rest of it."""
        quotes = self.said.quotes if values else []
        text = quotes[0] if len(quotes) == 1 else self.said.text
        for name in self.texts:
            self._put(values, name, text)
        if not self.texts:
            optional = (name for name in TEXT_NAMES if name in self.properties and name not in values)
            name = next((one for one in optional if is_text(one, self.properties[one], self.parameters)), "")
            if name:
                self._put(values, name, self.said.text)

    def _typed(self, name: str, schema: Mapping[str, Any], required: bool, described: str = "") -> Any:
        choices = choices_of(schema, described)
        if choices:
            pool = self._pool(choices)
            return self._spoken(2.0, pool.pop(0)[1] if pool else None)
        kinds = types(schema, self.parameters) - {"null"}
        if "string" in kinds:
            return self._string(name, schema)
        if kinds == {"boolean"}:
            return self._spoken(1.0, _yes_or_no(name, schema, self.said.text))
        if kinds == {"array"} and self.depth:
            return self._array(schema)
        if kinds == {"object"} and self.depth and required and resolved(schema, self.parameters).get("required"):
            inner = _Filling(_within(schema, self.parameters), self.said, self.depth - 1).filled()
            return None if inner.missing else inner.values
        return None

    def _pool(self, choices: Mapping[Any, list[str]]) -> list[tuple[int, Any]]:
        """The mentions that are left of these choices: two parameters with the same ones take one after the other."""
        return self.pools.setdefault(frozenset(choices), named(choices, self.said.text[:4000]))

    def _string(self, name: str, schema: Mapping[str, Any]) -> str | None:
        said, head = self.said, _head(name, schema)
        common = 0.4 if name in self.required else 0.0
        match schema.get("format"):
            case "date":
                day = said.day(last=bool(_LAST.search(head)))
                return self._spoken(common, day.isoformat() if day else None)
            case "date-time":
                moment = said.moment()
                return self._spoken(common, moment.isoformat() if moment else None)
            case "time":
                moment = said.moment()
                return moment.timetz().isoformat() if moment else None
            case "email" | "idn-email":
                return self._spoken(1.0, said.emails.pop(0) if said.emails else None)
            case "uri" | "url" | "iri" | "uri-reference":
                return self._spoken(1.0, said.urls.pop(0) if said.urls else None)
        if "pattern" in schema:
            return self._spoken(1.0, _matching(schema["pattern"], said.tokens()))
        if _is_place(name, schema):
            roles: list[Role] = ["from", ""] if _FROM.search(head) else ["to", ""] if _TO.search(head) else ["", "to"]
            return self._spoken(1.0 if roles[0] else common, said.place(roles))
        return None

    def _spoken(self, evidence: float, value: _T) -> _T:
        """The value, which speaks so much for the skill if it was found."""
        self.evidence += evidence if value is not None else 0.0
        return value

    def _array(self, schema: Mapping[str, Any]) -> list[Any] | None:
        """As many items as the text has of that form, each once."""
        items, described = self._items(schema), str(schema.get("description", ""))
        inner = _Filling(items, self.said, 0)
        found: list[Any] = []
        item = inner.properties["item"]
        while inner.is_typed("item") or choices_of(item, described):
            value = inner._typed("item", item, False, described)
            if value is None or len(found) >= 100:
                break
            if value not in found:
                found.append(value)
        self.evidence += inner.evidence if found else 0.0
        return found or None

    def _items(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        return {"properties": {"item": schema.get("items", {})}} | _definitions(self.parameters)

    def _numbers(self) -> dict[str, int | float]:
        """Numbers to parameters: first by the words around them, then what is left, in order, where it is required."""
        wanted = {
            name: types(schema, self.parameters)
            for name, schema in self.properties.items()
            if "number" in types(schema, self.parameters) and not choices_of(schema)
        }
        numbers = list(self.said.numbers)
        pairs = [
            (alike(words_of(_told(name, self.properties[name])), *self.said.around(number)), name, number)
            for name in wanted
            for number in numbers
        ]
        taken: dict[str, Number] = {}
        for score, name, number in sorted(pairs, key=lambda pair: (-pair[0], pair[2].begin)):
            if score >= _SURE and name not in taken and number not in taken.values() and self._takes(name, number):
                taken[name] = number
                self.evidence += 1.5
        left = [one for one in numbers if one not in taken.values() and not one.vague]
        for name in self.required:
            if name in wanted and name not in taken:
                first = next((one for one in left if self._takes(name, one)), None)
                if first:
                    taken[name] = first
                    left.remove(first)
        return {name: _number(number, wanted[name]) for name, number in taken.items()}

    def _takes(self, name: str, number: Number) -> bool:
        value = _number(number, types(self.properties[name], self.parameters))
        return _fits(name, value, self.parameters)


def _number(number: Number, kinds: Iterable[str]) -> int | float:
    whole = isinstance(number.value, float) and number.value.is_integer() and "integer" in kinds
    return int(number.value) if whole else number.value


def _fits(name: str, value: Any, parameters: Mapping[str, Any]) -> bool:
    """Whether the parameter's own schema takes the value."""
    written = msgspec.json.encode(only(name, parameters))
    alone = _checked_once(written) if len(written) <= LONGEST_CHECKED else None
    return alone is None or not alone.misfits({name: value})


@lru_cache(maxsize=512)
def _checked_once(written: bytes) -> Checked | None:
    return checked(msgspec.json.decode(written))


def _definitions(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {key: parameters[key] for key in ("$defs", "definitions") if key in parameters}


def _within(schema: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    properties = schema.get("properties")
    return {**schema, "properties": properties if isinstance(properties, Mapping) else {}} | _definitions(parameters)


def _told(name: str, schema: Mapping[str, Any]) -> str:
    """What a parameter says of itself: `checkIn` is `check_in`."""
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    return f"{snake} {schema.get('title', '')} {schema.get('description', '')}"[:400].lower()


def _is_place(name: str, schema: Mapping[str, Any]) -> bool:
    """Whether a parameter is a place by its name, or by the first words that are said of it."""
    return name not in TEXT_NAMES and bool(_PLACE.search(_head(name, schema)))


def _head(name: str, schema: Mapping[str, Any]) -> str:
    """The name of a parameter and the first words that are said of it; further ones may be about others."""
    return _told(name, schema)[: len(name) + 16]


def _yes_or_no(name: str, schema: Mapping[str, Any], text: str) -> bool | None:
    told, text = _told(name, schema), text[:4000]
    if _SWITCH.search(told):
        off, on = _OFF.search(text), _ON.search(text)
        return None if not on and not off else not off
    for word in sorted(words_of(told), key=len, reverse=True):
        at = text.lower().find(word) if len(word) > 1 else -1
        if at >= 0:
            return not _NOT.search(text[:at])
    return None


def _matching(pattern: Any, tokens: Iterable[str]) -> str | None:
    """The longest token that is all of what the pattern says."""
    if not isinstance(pattern, str) or len(pattern) > 200 or _UNSAFE.search(pattern):
        return None
    try:
        whole = re.compile(pattern.removeprefix("^").removesuffix("$"))
    except re.error:
        return None
    return max((token for token in tokens if whole.fullmatch(token)), key=len, default=None)
