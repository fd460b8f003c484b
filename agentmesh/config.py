"""Settings from arguments, else the environment, else `agentmesh.yaml`, else defaults: `SETTINGS` is their table."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, get_args

from agentmesh.document import Document, Mistake, did_you_mean, read_document, shown
from agentmesh.errors import ConfigError

CONFIG_FILE: Final = "agentmesh.yaml"
PREFIX: Final = "AGENTMESH_"
LOG_LEVELS: Final = ("debug", "info", "warning", "error")

Durability = Literal["normal", "full"]
Functions = Literal["plain", "strict"]
_CHOICES: Final = {"level": LOG_LEVELS, "durability": get_args(Durability), "functions": get_args(Functions)}

Kind = Literal["text", "url", "folder", "level", "durability", "functions", "size", "secret", "registries", "cards"]
"""`url`, `folder` and `cards` may be relative to the file that holds them; a `secret` is never read from a file; a
`size` is in bytes, or in KB, MB, GB (of 1000) or KiB, MiB, GiB (of 1024); `registries` and `cards` are several, in a
list or with spaces between them.
"""

REGISTRIES: Final = re.compile(r"(nacos://|(well-known:)?https?://)[^\s/]\S*|(direct|mesh):?")
"""The address of a registry."""

_WORDS: Final = ("direct", "mesh")

SIZES: Final = {
    "retention": (10_000_000, 10**15),
    "blob_threshold": (1_000, 1_000_000),
    "blob_limit": (1_000_000, 1_000_000_000),
}
"""The smallest and the largest value of each size."""

_SIZE: Final = re.compile(r"([0-9]{1,12}) ?(|[KMG]i?)B?", re.IGNORECASE)


class Setting(NamedTuple):
    """A row of the table of settings."""

    name: str
    env: str
    kind: Kind
    default: str | int | None
    help: str


CardSource = str | Mapping[str, Any]
"""Where a card is: a file, a URL, or the card itself."""

SETTINGS: Final = (
    Setting(
        "broker",
        "AGENTMESH_BROKER",
        "url",
        "local://.agentmesh",
        "Where topics and LiteTopics live: memory://NAME, local://DIR, or "
        "rocketmq://HOST:PORT[?remoting=HOST:PORT][&namespace=NAME][&tls=true][&ca=PATH].",
    ),
    Setting("access_key", "AGENTMESH_ACCESS_KEY", "secret", None, "The access key for rocketmq://."),
    Setting("secret_key", "AGENTMESH_SECRET_KEY", "secret", None, "The secret key for rocketmq://."),
    Setting(
        "registry",
        "AGENTMESH_REGISTRY",
        "registries",
        None,
        "Where agents register and are found: mesh (the broker's own, the default where it has one), "
        "nacos://HOST:PORT, direct (the `cards`), https://BASE (its well-known card). One, or several in a list or "
        "with spaces between them: agents register in the first that takes them, and are found in all.",
    ),
    Setting("registry_user", "AGENTMESH_REGISTRY_USER", "secret", None, "The user name for nacos://."),
    Setting("registry_password", "AGENTMESH_REGISTRY_PASSWORD", "secret", None, "The password for nacos://."),
    Setting("registry_token", "AGENTMESH_REGISTRY_TOKEN", "secret", None, "A token for nacos://, instead of both."),
    Setting(
        "cards",
        "AGENTMESH_CARDS",
        "cards",
        None,
        "The agents that the registry direct: knows: a list of files, URLs and cards written in place.",
    ),
    Setting(
        "cache",
        "AGENTMESH_CACHE",
        "folder",
        None,
        "The folder in which what registries told is kept for when they are away, and the vectors of cards. Without "
        "it: agentmesh in XDG_CACHE_HOME, else in ~/.cache.",
    ),
    Setting("model", "AGENTMESH_MODEL", "text", None, "The language model's name, as its endpoint knows it."),
    Setting("base_url", "OPENAI_BASE_URL", "text", None, "The OpenAI-compatible endpoint of the language model."),
    Setting("api_key", "OPENAI_API_KEY", "secret", None, "The key for that endpoint."),
    Setting(
        "functions",
        "AGENTMESH_FUNCTIONS",
        "functions",
        "plain",
        "How the model is given skills: plain, with the schemas that they declare; strict, with schemas to which an "
        "endpoint that knows OpenAI's strict functions holds the model.",
    ),
    Setting(
        "embedder",
        "AGENTMESH_EMBEDDER",
        "text",
        "use",
        "What tells the meaning of texts for search: use (multilingual, on this machine), openai:MODEL (the endpoint "
        "for embeddings at OPENAI_BASE_URL), python:MODULE:FUNCTION (texts to vectors), or none: search goes by words.",
    ),
    Setting("tenant", "AGENTMESH_TENANT", "text", None, "Scopes the mesh to one tenant; without it, it may name any."),
    Setting("principal", "AGENTMESH_PRINCIPAL", "text", None, "On whose behalf calls are made."),
    Setting("agents", "AGENTMESH_AGENTS", "folder", "agents", "The folder of agent folders."),
    Setting(
        "durability",
        "AGENTMESH_DURABILITY",
        "durability",
        "normal",
        "What a local:// mesh survives: normal, the death of every process; full, a power cut too.",
    ),
    Setting(
        "retention",
        "AGENTMESH_RETENTION",
        "size",
        None,
        "What the file of a local:// mesh may take, such as 10GB: at that size the oldest calls and runs that ended "
        "are removed before their time. Without it: any size.",
    ),
    Setting(
        "blobs",
        "AGENTMESH_BLOBS",
        "url",
        None,
        "Where large bodies lie: any URL that fsspec knows, such as s3://BUCKET/PREFIX or file:///DIR. Without it: the "
        "folder blobs of a local:// mesh, the memory of a memory:// one.",
    ),
    Setting(
        "blob_threshold",
        "AGENTMESH_BLOB_THRESHOLD",
        "size",
        256_000,
        "A body larger than this lies in the blob store: from 1 KB to 1 MB.",
    ),
    Setting(
        "blob_limit",
        "AGENTMESH_BLOB_LIMIT",
        "size",
        100_000_000,
        "A body larger than this is refused: from 1 MB to 1 GB.",
    ),
    Setting("log_level", "AGENTMESH_LOG_LEVEL", "level", "info", f"What is logged, from {', '.join(LOG_LEVELS)} on."),
)
_BY_NAME: Final = {setting.name: setting for setting in SETTINGS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings of a mesh; `SETTINGS` tells what each is for."""

    broker: str = "local://.agentmesh"
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    registry: str | None = None
    registry_user: str | None = field(default=None, repr=False)
    registry_password: str | None = field(default=None, repr=False)
    registry_token: str | None = field(default=None, repr=False)
    cards: tuple[CardSource, ...] | None = None
    cache: str | None = None
    model: str | None = None
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    functions: Functions = "plain"
    embedder: str = "use"
    tenant: str | None = None
    principal: str | None = None
    agents: str = "agents"
    durability: Durability = "normal"
    retention: int | None = None
    blobs: str | None = None
    blob_threshold: int = 256_000
    blob_limit: int = 100_000_000
    log_level: str = "info"

    @property
    def registries(self) -> tuple[str, ...]:
        """The addresses in `registry`, in their order."""
        return tuple((self.registry or "").split())


def load_config(
    path: str | os.PathLike[str] | None = None, env: Mapping[str, str] = os.environ, **arguments: object
) -> Config:
    """The settings in effect. Raises `ConfigError`, which names every mistake with its file and line or its variable.

    `path` is a file, or a folder that holds an `agentmesh.yaml`; without it, the one in the current folder is read if
    it is there. An argument that is None and a variable that is empty count as not given. Relative folders in a file
    are meant from where the file is.
    """
    return Config(**{name: value for name, (_, value) in _settled(path, env, arguments).items()})


def origins(
    path: str | os.PathLike[str] | None = None, env: Mapping[str, str] = os.environ, **arguments: object
) -> dict[str, str]:
    """Where each setting of `load_config` comes from: `argument NAME`, a variable, a file, or `default`."""
    settled = _settled(path, env, arguments)
    return {each.name: settled[each.name][0] if each.name in settled else "default" for each in SETTINGS}


def _settled(
    path: str | os.PathLike[str] | None, env: Mapping[str, str], arguments: Mapping[str, object]
) -> dict[str, tuple[str, Any]]:
    """Of each setting that was given: the place that counts, and its value."""
    document = _document(path)
    problems = [f"{_place(document.path, mistake)}: {mistake.message}" for mistake in config_mistakes(document)]
    problems += _unknown_variables(env)
    problems += _unknown_arguments(arguments)
    settled: dict[str, tuple[str, Any]] = {}
    for setting in SETTINGS:
        for place, value in _given(setting, document, env, arguments):
            if problem := _problem(setting, value):
                problems.append(f"{place}: {problem}")
            else:
                settled.setdefault(setting.name, (place, _value(setting, value)))
    if problems:
        raise ConfigError("\n".join(problems))
    return settled


def config_mistakes(document: Document) -> list[Mistake]:
    """Everything that is wrong with an `agentmesh.yaml`."""
    mistakes = list(document.mistakes)
    if document.data is None:
        return mistakes
    if not isinstance(document.data, dict):
        return [*mistakes, document.mistake("Settings are a mapping, such as `broker: local://.agentmesh`.")]
    for key, value in document.data.items():
        setting = _BY_NAME.get(key)
        if setting is None:
            known = [each.name for each in SETTINGS if each.kind != "secret"]
            hint = did_you_mean(key, known) or f" Settings are: {', '.join(known)}."
            mistakes.append(document.mistake(f"There is no setting '{shown(key)}'.{hint}", (key,)))
        elif value is not None and (problem := _problem(setting, value, in_file=True)):
            mistakes.append(document.mistake(problem, (key,)))
    return mistakes


def _document(path: str | os.PathLike[str] | None) -> Document:
    if path is None:
        here = Path(CONFIG_FILE)
        return read_document(here) if here.exists() else Document("")
    place = Path(path)
    return read_document(place / CONFIG_FILE if place.is_dir() else place)


def _given(
    setting: Setting, document: Document, env: Mapping[str, str], arguments: Mapping[str, object]
) -> Iterator[tuple[str, Any]]:
    """Every value that was given for a setting, with its place, the one that counts first.

    What the file says has been checked by `config_mistakes` and is left out if it is wrong.
    """
    if (value := arguments.get(setting.name)) is not None:
        yield f"argument {setting.name}", str(value) if isinstance(value, os.PathLike) else value
    if text := env.get(setting.env):
        yield setting.env, text
    data = document.data if isinstance(document.data, dict) else {}
    if (value := data.get(setting.name)) is not None and not _problem(setting, value, in_file=True):
        yield document.path, _beside(Path(document.path).parent, setting.kind, value)


def _problem(setting: Setting, value: object, *, in_file: bool = False) -> str:
    """What is wrong with a value, or nothing."""
    if in_file and setting.kind == "secret":
        return f"Keys do not belong in files: set {setting.env} in the environment."
    if setting.kind == "size":
        return _size_problem(setting, value)
    if setting.kind == "registries":
        return _registries_problem(value)
    if setting.kind == "cards":
        return _cards_problem(value)
    if not isinstance(value, str) or not value:
        return f"{setting.name} is a text, not {shown(repr(value))}."
    choices = _CHOICES.get(setting.kind)
    if choices and value.lower() not in choices:
        return f"{setting.name} is one of {', '.join(choices)}, not '{shown(value)}'.{did_you_mean(value, choices)}"
    if setting.kind == "url" and "://" not in value:
        return f"{setting.name} is an address such as local://DIR, not '{shown(value)}'."
    return ""


def _value(setting: Setting, value: Any) -> Any:
    """What is right, as it is meant."""
    if setting.kind == "size":
        return read_size(value)
    if setting.kind == "registries":
        return " ".join(_addresses(value) or ())
    if setting.kind == "cards":
        return tuple(_several(value) or ())
    return value.lower() if setting.kind in _CHOICES else value


def _size_problem(setting: Setting, value: object) -> str:
    size = read_size(value)
    low, high = SIZES[setting.name]
    if size is None:
        return f"{setting.name} is a size such as 256KB or 100MB, not {shown(repr(value))}."
    return "" if low <= size <= high else f"{setting.name} is from {low:,} to {high:,} bytes, not {size:,}."


def _several(value: object) -> list[Any] | None:
    """A list, or the words of a text; None for anything else, and for nothing."""
    found = value.split() if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else []
    return [str(each) if isinstance(each, os.PathLike) else each for each in found] or None


def _addresses(value: object) -> list[Any] | None:
    """As `_several`, of registries: YAML makes a mapping of `direct:`, which is a word with or without its colon."""
    listed = _several([value] if isinstance(value, dict) else value) or ()
    found = [next(iter(each)) if isinstance(each, dict) and [*each.values()] == [None] else each for each in listed]
    return [f"{each}:" if each in _WORDS else each for each in found] or None


def _registries_problem(value: object) -> str:
    known = "Use mesh, nacos://HOST:PORT, direct or https://BASE, one or a list of them."
    addresses = _addresses(value)
    if addresses is None:
        return f"registry is an address or several, not {shown(repr(value))}. {known}"
    for each in addresses:
        if not isinstance(each, str) or not REGISTRIES.fullmatch(each):
            return f"registry: {shown(repr(each))} is no address of a registry. {known}"
    twice = [each for each in dict.fromkeys(addresses) if addresses.count(each) > 1]
    return f"registry: {shown(twice[0])} is named twice." if twice else ""


def _cards_problem(value: object) -> str:
    cards = _several(value)
    if cards is None:
        return f"cards is a list of files, URLs and cards, not {shown(repr(value))}."
    wrong = [each for each in cards if not each or not isinstance(each, str | Mapping)]
    return f"cards: {shown(repr(wrong[0]))} is no card: write a file, a URL or the card itself." if wrong else ""


def read_size(value: object) -> int | None:
    """A number of bytes, or a text such as `256KB`; None for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if not found:
        return None
    unit = found[2].upper()
    size: int = int(found[1]) * (1024 if unit.endswith("I") else 1000) ** ("KMG".index(unit[0]) + 1 if unit else 0)
    return size


def _unknown_variables(env: Mapping[str, str]) -> list[str]:
    """Variables that look like a misspelt setting. Others of the prefix may be somebody's own."""
    known = [setting.env for setting in SETTINGS]
    near = ((name, did_you_mean(name, known, cutoff=0.85)) for name in sorted(env) if name.startswith(PREFIX))
    return [f"{name}: There is no such setting.{hint}" for name, hint in near if hint and name not in known]


def _unknown_arguments(arguments: Mapping[str, object]) -> list[str]:
    return [
        f"argument {name}: There is no such setting.{did_you_mean(name, _BY_NAME)}"
        for name in arguments
        if name not in _BY_NAME
    ]


def _beside(folder: Path, kind: Kind, value: Any) -> Any:
    """A relative folder in a file in `folder`, as seen from here; of cards, those that are files."""
    if kind == "folder":
        return str(folder / value)
    if kind == "cards":
        return [
            each if not isinstance(each, str) or "://" in each else str(folder / each) for each in _several(value) or ()
        ]
    if kind != "url":
        return value
    scheme, mark, rest = value.partition("://")
    return f"{scheme}{mark}{folder / rest}" if scheme == "local" else value


def _place(path: str, mistake: Mistake) -> str:
    place = path + (f":{mistake.line}" if mistake.line else "")
    return f"{place}: {mistake.field}" if mistake.field else place
