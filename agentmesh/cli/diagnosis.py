"""What `agentmesh doctor` looks at. Nothing here writes to a mesh, or opens one that another process has open."""

import asyncio
import fcntl
import os
import platform
import re
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import Final, Literal, NamedTuple

from agentmesh.broker.embedded.store import SCHEMA_VERSION
from agentmesh.broker.local import DATABASE, LOCK
from agentmesh.cli.opening import NEW_AGENT, folders_at
from agentmesh.config import SETTINGS, Config, load_config, origins
from agentmesh.errors import ConfigError, ModelUnavailable

_LITTLE_ROOM: Final = 200_000_000
_COUNTS: Final = """
    select (select count(*) from topic), (select count(*) from task where token = ''),
           (select count(*) from task where token <> ''), (select count(*) from dead),
           (select count(*) from lite_topic)
"""


class Finding(NamedTuple):
    """What was found about an area, and what mends it."""

    area: str
    status: Literal["ok", "warn", "fail"]
    text: str
    fix: str = ""


def diagnose(url: str | None, *, ask_model: bool = False) -> list[Finding]:
    """Everything that can be told without changing anything."""
    findings = list(_versions())
    try:
        config, places = load_config(broker=url), origins(broker=url)
    except ConfigError as error:
        return [*findings, Finding("settings", "fail", str(error), "correct or remove these settings")]
    findings.append(_settings(config, places))
    findings.append(_agents(config))
    findings += _mesh(config.broker)
    findings.append(_model(config, ask=ask_model))
    return findings


def _versions() -> Iterator[Finding]:
    python = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {platform.system()}"
    yield Finding("agentmesh", "ok", f"{metadata.version('agentmesh')} on {python}")
    found, missing = [], []
    for requirement in metadata.requires("agentmesh") or ():
        if "extra ==" in requirement:
            continue
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        yield Finding("packages", "fail", f"missing: {', '.join(missing)}", f"pip install {' '.join(missing)}")
    else:
        yield Finding("packages", "ok", ", ".join(found))


def _settings(config: Config, places: dict[str, str]) -> Finding:
    """The settings in effect, each with its origin. Keys are not shown."""
    lines = []
    for setting in SETTINGS:
        value = getattr(config, setting.name)
        if value is None:
            continue
        shown = "(set, not shown)" if setting.kind == "secret" else _without_password(value)
        lines.append(f"{setting.name:<10} {shown}  ({places[setting.name]})")
    return Finding("settings", "ok", "\n".join(lines))


def _without_password(value: str) -> str:
    return re.sub(r"(://[^/@\s]*:)[^/@\s]*@", r"\1***@", value)


def _agents(config: Config) -> Finding:
    from agentmesh.runtime.check import check

    folder = Path(config.agents)
    found = folders_at(folder)
    if not found:
        return Finding("agents", "warn", f"none in {folder}/", NEW_AGENT)
    mistakes = check(folder)
    if mistakes:
        text = "\n".join([f"mistakes in {folder}/: {len(mistakes)}", *map(str, mistakes[:5])])
        return Finding("agents", "fail", text, f"agentmesh check {folder}")
    return Finding("agents", "ok", f"{len(found)} in {folder}/: {', '.join(each.name for each in found[:20])}")


def _model(config: Config, *, ask: bool) -> Finding:
    place = _without_password(config.base_url or "OpenAI's own endpoint")
    if not config.model:
        if config.api_key or config.base_url:
            text = "a key or an endpoint is set, but no model: goals are planned by rule"
            return Finding("model", "warn", text, "export AGENTMESH_MODEL=NAME")
        return Finding("model", "ok", "none configured: goals are planned by rule")
    if not config.api_key and not config.base_url:
        return Finding("model", "warn", f"{config.model}, but no key for {place}", "export OPENAI_API_KEY=…")
    if not ask:
        return Finding("model", "ok", f"{config.model} at {place} (not asked: doctor --model does)")
    from agentmesh.llm.openai import OpenAIChat

    chat = OpenAIChat(config.model, config.base_url, config.api_key, patience=30, max_retries=0)
    try:
        reply = asyncio.run(chat.complete([{"role": "user", "content": "Answer with the word ok."}]))
    except ModelUnavailable as error:
        return Finding("model", "fail", str(error), "check AGENTMESH_MODEL, OPENAI_BASE_URL and OPENAI_API_KEY")
    return Finding("model", "ok", f"{config.model} at {place} answered {reply.text.strip()[:40]!r}")


def _mesh(url: str) -> Iterator[Finding]:
    scheme, _, rest = url.partition("://")
    if scheme == "memory":
        yield Finding("mesh", "ok", f"{url} lives and ends with each process")
    elif scheme != "local" or not rest:
        fix = "use --mesh local://DIR, or set AGENTMESH_BROKER"
        yield Finding("mesh", "fail", f"{url} is no mesh that this version can open", fix)
    else:
        folder = Path(rest).expanduser().resolve()
        try:
            yield from _folder(folder)
        except OSError as error:
            yield Finding("mesh", "fail", f"{folder}: {error.strerror}", "name another folder: --mesh local://DIR")


def _folder(folder: Path) -> Iterator[Finding]:
    if not folder.exists():
        parent = next(each for each in folder.parents if each.exists())
        if parent.is_dir() and os.access(parent, os.W_OK):
            yield Finding("mesh", "ok", f"{folder} is not there yet; the first use makes it")
        else:
            fix = "name another folder: --mesh local://DIR"
            yield Finding("mesh", "fail", f"{folder} cannot be made: {parent} is not a writable folder", fix)
        return
    yield _writable(folder)
    database = folder / DATABASE
    if not database.exists():
        yield Finding("database", "ok", f"{database} is not there yet; the first use makes it")
        return
    holder = _holder(folder)
    if holder:
        text = f"{folder} is open in process {holder}: others cannot open it meanwhile"
        yield Finding("in use", "warn", text, f"end that process (kill {holder}), or use another folder")
    yield from _database(database)


def _writable(folder: Path) -> Finding:
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(65536))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        text = f"{folder} cannot be written: {error.strerror}"
        return Finding("mesh", "fail", text, "make it writable, free some room, or name another: --mesh local://DIR")
    room = os.statvfs(folder)
    free = room.f_bavail * room.f_frsize
    if free < _LITTLE_ROOM:
        return Finding("mesh", "warn", f"{folder} can be written, but only {_size(free)} are free", "free some room")
    return Finding("mesh", "ok", f"{folder} can be written; {_size(free)} free")


def _holder(folder: Path) -> str:
    """The pid of the process that has the mesh open; empty if none has."""
    try:
        lock = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(lock, 20, 0).decode(errors="replace").strip() or "unknown"
    finally:
        os.close(lock)
    return ""


def _database(path: Path) -> Iterator[Finding]:
    """What a second, reading connection sees of the file."""
    wal = path.with_name(f"{path.name}-wal")
    sizes = (
        f"{_size(path.stat().st_size)}, and {_size(wal.stat().st_size if wal.exists() else 0)} not yet moved into it"
    )
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5)) as db:
            version = db.execute("pragma user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                text = f"schema {version} is of a newer agentmesh; this one knows up to {SCHEMA_VERSION}"
                yield Finding("database", "fail", text, "pip install --upgrade agentmesh")
                return
            topics, waiting, running, dead, logs = db.execute(_COUNTS).fetchone()
            yield Finding("database", "ok", f"schema {version}, {sizes}")
            counts = f"{topics} topics; {waiting} tasks waiting, {running} running, {dead} dead; {logs} LiteTopics"
            yield Finding("contents", "warn" if dead else "ok", counts, _DEAD if dead else "")
            yield _integrity(path, [str(row[0]) for row in db.execute("pragma quick_check(5)")])
    except sqlite3.Error as error:
        yield Finding("database", "fail", f"{path} ({sizes}) cannot be read: {error}", _mend(path))


def _integrity(path: Path, said: list[str]) -> Finding:
    if said == ["ok"]:
        return Finding("integrity", "ok", "every page and index reads")
    return Finding("integrity", "fail", "\n".join(["the file is damaged:", *said]), _mend(path))


_DEAD: Final = "their calls' logs tell why: agentmesh attach ID --no-follow"


def _mend(path: Path) -> str:
    return f"stop what uses it, copy the folder, then: sqlite3 {path} .recover | sqlite3 recovered.db"


def _size(number: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000 or unit == "GB":
            break
        number /= 1000
    return f"{number:.0f} {unit}" if unit == "bytes" or number >= 100 else f"{number:.1f} {unit}"
