"""What `agentmesh doctor` looks at. Nothing here writes to a mesh, or has one moved that a program hosts.

For clusters see `clusters`, for registries `registries`.
"""

import asyncio
import fcntl
import os
import platform
import re
import sqlite3
import tempfile
from collections.abc import Generator, Iterator
from importlib import metadata
from pathlib import Path
from typing import Final

from agentmesh.broker.embedded.store import SCHEMA_VERSION
from agentmesh.broker.local import DATABASE, LOCK
from agentmesh.cli.finding import Finding
from agentmesh.cli.opening import NEW_AGENT, folders_at
from agentmesh.clock import SystemClock
from agentmesh.config import SETTINGS, Config, load_config, origins
from agentmesh.contracts import Health
from agentmesh.errors import ConfigError, MeshError, ModelUnavailable

_LITTLE_ROOM: Final = 200_000_000
_SHOWN: Final = 10
_PATIENCE: Final = 15


def diagnose(
    url: str | None, registries: list[str] | None = None, *, ask_model: bool = False, mend: bool = False
) -> list[Finding]:
    """Everything that can be told without changing anything; with `mend`, what is left over is removed."""
    findings = list(_versions())
    try:
        config = load_config(broker=url, registry=registries or None)
        places = origins(broker=url, registry=registries or None)
    except ConfigError as error:
        return [*findings, Finding("settings", "fail", str(error), "correct or remove these settings")]
    findings.append(_settings(config, places))
    findings.append(_agents(config))
    findings += _cluster(config, mend=mend) if config.broker.startswith("rocketmq://") else _mesh(config.broker)
    findings += _registries(config)
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
        shown = "(set, not shown)" if setting.kind == "secret" else _without_password(str(value))
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


def _cluster(config: Config, *, mend: bool) -> Iterator[Finding]:
    from agentmesh.cli.clusters import cluster

    return cluster(config, mend=mend)


def _registries(config: Config) -> Iterator[Finding]:
    from agentmesh.cli.registries import registries

    return registries(config)


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
    kind, pid = _holder(folder)
    if kind:
        who = f"the program with pid {pid}, in its own loop" if kind == "program" else f"pid {pid}, for all who come"
        yield Finding("host", "ok", f"hosted by {who}")
    known = yield from _database(database)
    if kind == "child":
        yield from _host(folder, known)


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


def _holder(folder: Path) -> tuple[str, str]:
    """Who has the mesh open: `program` or `child`, and its pid. Empty if nobody has."""
    try:
        lock = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return "", ""
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        kind, _, process = os.pread(lock, 200, 0).decode(errors="replace").strip().partition(" ")
        return kind or "program", process.partition("-")[0] or "unknown"
    finally:
        os.close(lock)
    return "", ""


def _database(path: Path) -> Generator[Finding, None, set[str]]:
    """What a second, reading connection sees of the file; returns the problems as its host would tell them."""
    from agentmesh.broker.embedded.health import survey

    mend = f"stop what uses it, copy the folder, then: sqlite3 {path} .recover | sqlite3 recovered.db"
    try:
        found = survey(path, SystemClock().now())
    except ValueError as error:
        yield Finding("database", "fail", str(error), "pip install --upgrade agentmesh")
        return set()
    except sqlite3.Error as error:
        yield Finding("database", "fail", f"{path} ({_size(path.stat().st_size)}) cannot be read: {error}", mend)
        return set()
    facts = found.facts
    size, wal = _size(float(facts["file bytes"])), _size(float(facts["wal bytes"]))
    later = "" if facts["schema"] == SCHEMA_VERSION else f" (the next use brings it to {SCHEMA_VERSION})"
    free = f"{facts['free pages']} of {facts['pages']} pages free"
    yield Finding("database", "ok", f"schema {facts['schema']}{later}, {size}, {free}, and {wal} not yet moved into it")
    counts = (
        f"{facts.get('topics', '?')} topics; {facts.get('waiting', '?')} tasks waiting, {facts.get('running', '?')} "
        f"running, {facts.get('dead letters', '?')} dead; {facts.get('LiteTopics', '?')} LiteTopics"
    )
    oldest = [f"{name}: {value}" for name, value in facts.items() if name.startswith("oldest of ")][:_SHOWN]
    yield Finding("contents", "ok", "\n".join([counts, *oldest]))
    for damage in found.damage:
        yield Finding("integrity", "fail", damage.text, damage.fix)
    if not found.damage:
        cut = f"; cut short: {', '.join(found.cut)}" if found.cut else ""
        yield Finding("integrity", "ok", f"{facts['integrity']}{cut}")
    for problem in found.problems:
        yield Finding("health", "warn", problem.text, problem.fix)
    return set(found.health().problems)


def _host(folder: Path, known: set[str]) -> Iterator[Finding]:
    """What the process that hosts knows beyond the file. One that hosts for all is asked; a program is left alone."""

    async def ask() -> Health:
        from agentmesh.broker.local import open_local

        async with asyncio.timeout(_PATIENCE):
            broker = await open_local(folder, SystemClock(), alone=False)
            try:
                return await broker.health()
            finally:
                await broker.close()

    try:
        health = asyncio.run(ask())
    except (MeshError, TimeoutError) as error:
        text = f"it does not answer: {error or f'silent for {_PATIENCE} s'}"
        yield Finding("host", "warn", text, "end it: the next command on the mesh starts another")
        return
    for problem in health.problems:
        if problem not in known:
            yield Finding("health", "warn", problem)


def _size(number: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000 or unit == "GB":
            break
        number /= 1000
    return f"{number:.0f} {unit}" if unit == "bytes" or number >= 100 else f"{number:.1f} {unit}"
