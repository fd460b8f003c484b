"""Filters: what a hit must be beyond fitting, as arguments or inside a query (`provider:acme draws maps`).

A card tells who may see it, what it costs and where it runs in the params of the capabilities extension
`DISCOVERY_EXTENSION`: `{"tenants": ["acme"], "cost": 0.02, "region": "cn-hangzhou"}`. Without `tenants` everybody sees
it; `cost` is that of a call, in whatever the mesh counts in.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

import msgspec

from agentmesh.catalog.versions import version_key
from agentmesh.contracts import Registration
from agentmesh.errors import ConfigError

if TYPE_CHECKING:
    from agentmesh.card import AgentCard, AgentSkill

DISCOVERY_EXTENSION: Final = "urn:agentmesh:discovery:1"
CAPABILITIES: Final = ("streaming", "push")
_RANGE: Final = re.compile(r"(>=|<=|>|<|=|)\s*v?([0-9][\w.+-]{0,63})")
_LONGEST: Final = 200


class Filters(msgspec.Struct, frozen=True):
    """What a hit must be; what is empty says nothing. The names are those of the filters inside a query.

    Each `tag`, each capability that it `can` (`streaming`, `push`), each media type of `input` and `output` (`image/*`
    too) must be there; `provider` and `region` are one of those named. `version` is a range such as `>=1.2,<2`, `cost`
    the most that a call may cost: a card that does not tell its cost or region is left out by them. `tenant` leaves
    out what that tenant may not see. `alive` is None for any. Case does not matter.
    """

    tag: tuple[str, ...] = ()
    provider: tuple[str, ...] = ()
    can: tuple[str, ...] = ()
    input: tuple[str, ...] = ()
    output: tuple[str, ...] = ()
    version: str = ""
    cost: float | None = None
    region: tuple[str, ...] = ()
    tenant: str = ""
    alive: bool | None = True

    def __post_init__(self) -> None:
        for each in self.can:
            if each.casefold() not in CAPABILITIES:
                raise ConfigError(f"can:{each[:_LONGEST]}: there are {' and '.join(CAPABILITIES)}.")
        _ranges(self.version)

    def accepts(self, registration: Registration, skill: "AgentSkill") -> bool:
        """Whether the skill of that agent passes."""
        card = registration.card
        told = discovery(card)
        return (
            self.alive in (None, registration.alive)
            and _has_all(self.tag, skill.tags)
            and (not self.provider or _provided(card, self.provider))
            and all(_can(card, each.casefold()) for each in self.can)
            and _has_modes(self.input, skill.input_modes or card.default_input_modes)
            and _has_modes(self.output, skill.output_modes or card.default_output_modes)
            and _in_range(registration.version, self.version)
            and (self.cost is None or _cost(told) <= self.cost)
            and (not self.region or _has_one(self.region, _texts(told.get("region"))))
            and (not self.tenant or "tenants" not in told or self.tenant in _texts(told["tenants"]))
        )


def for_tenant(filters: Filters, tenant: str) -> Filters:
    """The same, for the eyes of that tenant alone; without one, as they are."""
    return msgspec.structs.replace(filters, tenant=tenant) if tenant else filters


def discovery(card: "AgentCard") -> Mapping[str, Any]:
    """The params of the card's `DISCOVERY_EXTENSION`; nothing if it has none."""
    return next((each.params for each in card.capabilities.extensions if each.uri == DISCOVERY_EXTENSION), {})


def _has_all(wanted: Iterable[str], given: Iterable[str]) -> bool:
    there = {each.casefold() for each in given}
    return all(each.casefold() in there for each in wanted)


def _has_one(wanted: Iterable[str], given: Iterable[str]) -> bool:
    there = {each.casefold() for each in given}
    return any(each.casefold() in there for each in wanted)


def _provided(card: "AgentCard", wanted: Iterable[str]) -> bool:
    return card.provider is not None and _has_one(wanted, [card.provider.organization])


def _can(card: "AgentCard", capability: str) -> bool:
    capabilities = card.capabilities
    return capabilities.streaming if capability == "streaming" else capabilities.push_notifications


def _has_modes(wanted: Iterable[str], given: Iterable[str]) -> bool:
    there = [each.casefold().partition(";")[0].strip() for each in given]

    def fits(mode: str) -> bool:
        kind = mode.removesuffix("/*")
        return any(each in (mode, kind) or each.startswith(f"{kind}/") for each in there)

    return all(fits(each.casefold()) for each in wanted)


def _in_range(version: str, wanted: str) -> bool:
    have = version_key(version)
    for sign, bound in _ranges(wanted):
        edge = version_key(bound)
        ok = {">=": have >= edge, "<=": have <= edge, ">": have > edge, "<": have < edge}
        if not ok.get(sign, have[: len(edge)] == edge):
            return False
    return True


def _ranges(wanted: str) -> list[tuple[str, str]]:
    """The conditions of a range. Raises `ConfigError`."""
    found = []
    for part in wanted.split(",") if wanted else ():
        match = _RANGE.fullmatch(part.strip())
        if not match:
            raise ConfigError(f"version:{wanted[:_LONGEST]}: a range is such as >=1.2,<2 or 1.4.")
        found.append((match[1], match[2]))
    return found


def _cost(told: Mapping[str, Any]) -> float:
    cost = told.get("cost")
    return float(cost) if isinstance(cost, int | float) and not isinstance(cost, bool) else float("inf")


def _texts(told: Any) -> list[str]:
    listed = told if isinstance(told, list | tuple) else [told]
    return [each for each in listed if isinstance(each, str)]


def _several(value: object) -> tuple[str, ...]:
    listed = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    return tuple(part for each in listed if (part := str(each).strip()))


def _number(value: object) -> float:
    try:
        number = float(str(value).removeprefix("<").removeprefix("="))
    except ValueError:
        number = float("nan")
    if not 0 <= number < float("inf"):
        raise ConfigError(f"cost:{value}: the most that a call may cost is a number, such as cost:0.05.")
    return number


def _alive(value: object) -> bool | None:
    known = {"yes": True, "true": True, "no": False, "false": False, "any": None, "none": None}
    if str(value).casefold() not in known:
        raise ConfigError(f"alive:{value}: there are yes, no and any.")
    return known[str(value).casefold()]


_READERS: Final[dict[str, Callable[[object], Any]]] = {
    "tag": _several,
    "provider": _several,
    "can": _several,
    "input": _several,
    "output": _several,
    "version": str,
    "cost": _number,
    "region": _several,
    "tenant": str,
    "alive": _alive,
}
_FILTER: Final = re.compile(
    rf'(?<![^\s,;(，；、。（\u3400-\u9fff])([A-Za-z][A-Za-z_-]{{0,30}}):(?!//)("[^"]{{0,{_LONGEST}}}"|[^\s"]{{1,{_LONGEST}}})'
)
_PHRASES: Final = tuple(
    (re.compile(phrase, re.IGNORECASE), capability)
    for capability, chinese, english in (
        ("streaming", "流式(?:输出|返回)?", "streaming"),
        ("push", "推送(?:通知)?", r"push(?:\s{1,4}notifications)?"),
    )
    for phrase in (
        rf"[,，、]?\s{{0,4}}[且并和]?(?:要|能|可以)?支持{chinese}",
        rf",?\s{{0,4}}(?:\b(?:and|that|which|with)\s{{1,4}})?\bsupport(?:s|ing)?\s{{1,4}}{english}\b",
    )
)


def read_filters(given: Mapping[str, object]) -> Filters:
    """The filters of plain data, by their names. Raises `ConfigError` for an unknown name or a value that is none."""
    return Filters(**{name: _read(name, value) for name, value in given.items() if value is not None})


def read_query(query: str, filters: Filters | None = None) -> tuple[str, Filters]:
    """The words of a query, and the filters that it holds, on top of `filters`. Raises as `read_filters`.

    `key:value`, with the value in quotes if it has spaces; of several values, with commas between them. What is not
    meant as a filter is written in quotes: `"note:this"`. `supports streaming` (or push) and `支持流式` are filters
    too.
    """
    given = msgspec.structs.asdict(filters or Filters())
    words = _FILTER.sub(lambda found: _take(given, found[1].casefold(), found[2].strip('"')), query)
    for phrase, capability in _PHRASES:
        words = phrase.sub(lambda _, each=capability: _take(given, "can", each), words)  # type: ignore[misc]
    return (query if words == query else " ".join(words.split())), Filters(**given)


def _take(into: dict[str, Any], name: str, text: str) -> str:
    """Let the filter count beside those that are there: lists are joined, ranges and tenants both hold."""
    value, before = _read(name, text), into.get(name)
    if isinstance(value, tuple):
        value = tuple(dict.fromkeys((*into[name], *value)))
    elif name == "version" and before:
        value = f"{before},{value}"
    elif name == "cost" and before is not None:
        value = min(before, value)
    elif name == "tenant" and before:
        value = before
    into[name] = value
    return " "


def _read(name: str, value: object) -> Any:
    reader = _READERS.get(name)
    if reader is None:
        hint = "".join(f" Did you mean {near}?" for near in get_close_matches(name, _READERS, n=1))
        raise ConfigError(
            f'{name}: is no filter.{hint} There are {", ".join(_READERS)}. In quotes, "{name}:…" is searched for.'
        )
    return reader(value)
