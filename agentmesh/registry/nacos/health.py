"""Health of a Nacos, for `agentmesh doctor`: whether it keeps what it is given, and what it can do.

For that it is given a document and an instance, which are taken away again.
"""

import asyncio
from typing import Final, NamedTuple

import msgspec

from agentmesh.errors import MeshError
from agentmesh.ids import new_token
from agentmesh.registry.nacos import sdk
from agentmesh.registry.nacos.address import Address, read_address
from agentmesh.registry.nacos.auth import Auth
from agentmesh.registry.nacos.configs import Configs
from agentmesh.registry.nacos.documents import Documents
from agentmesh.registry.nacos.liveness import LONGEST, identity
from agentmesh.registry.nacos.naming import Instance, Naming

_GROUP: Final = "agentmesh.probe"
_PATIENCE: Final = 5.0


class Problem(NamedTuple):
    """What is wrong, and what to do about it (empty: the text says it). What is `grave` loses registrations."""

    text: str
    fix: str = ""
    grave: bool = True


class Report(NamedTuple):
    """What is as it should be, and what is not."""

    facts: list[str]
    problems: list[Problem]


async def examine(url: str, *, username: str = "", password: str = "", token: str = "") -> Report:
    """Look at the Nacos at `url`. Raises `ConfigError`, `Unauthorized`, `RegistryUnavailable` (it cannot be reached, or
    stores nothing), and `ImportError` if its packages are not installed.
    """
    address = read_address(url)
    auth = Auth(address, username, password, token)
    await asyncio.to_thread(sdk.load)
    report = Report([], [])
    configs = Configs(address, auth.headers, lambda *_: None)
    try:
        await configs.link.open()
        await _documents(Documents(configs), report)
    finally:
        await configs.close()
    await _instances(address, auth, report)
    return report


async def _documents(documents: Documents, report: Report) -> None:
    if await documents.probe():
        report.facts.append("keeps what it is given, and compares before it sets")
    else:
        report.facts.append("keeps what it is given")
        text = "It sets without comparing, as r-nacos does: of two edits of one agent at once one may be lost."
        fix = "Let one process publish each topic and version, or use a Nacos 2 or 3."
        report.problems.append(Problem(text, fix, grave=False))
    try:
        topics = await documents.index()
    except MeshError as error:
        report.problems.append(Problem(str(error)))
    else:
        report.facts.append(f"{len(topics)} topics are known in this namespace")


async def _instances(address: Address, auth: Auth, report: Report) -> None:
    """Whether an instance that changes is told as it is now, with as much as an agent may say of itself."""
    told: asyncio.Queue[tuple[Instance, ...]] = asyncio.Queue()
    naming = Naming(address, auth.headers, _GROUP, lambda _, found: told.put_nowait(found), lambda: None)
    service = f"probe-{new_token().lower()}"
    host, port = identity(service)
    try:
        await naming.link.open()
        first, second = _metadata("1"), _metadata("2")
        await naming.announce(service, Instance(host, port, first))
        await naming.subscribe(service)
        await naming.announce(service, Instance(host, port, second))
        last: dict[str, str] = {}
        try:
            async with asyncio.timeout(_PATIENCE):
                while last != second:
                    for each in await told.get():
                        last = dict(each.metadata)
        except TimeoutError:
            report.problems.append(_never_told(last == first))
        else:
            report.facts.append(f"tells of instances, with {LONGEST:,} characters of metadata")
        await naming.withdraw(service)
    except MeshError as error:
        report.problems.append(Problem(str(error)))
    finally:
        await naming.close()


def _metadata(letter: str) -> dict[str, str]:
    """The longest that an agent's may be."""
    empty = len(msgspec.json.encode({"v": ""}))
    return {"v": letter * (LONGEST - empty)}


def _never_told(is_first: bool) -> Problem:
    if is_first:
        text = "It keeps the first metadata of an instance for ever: a version that is published later looks offline."
        return Problem(text, "r-nacos: set RNACOS_NAMING_INSTANCE_METADATA_PERSISTENCE_ENABLE=false, start it again.")
    text = f"It was told of an instance, and did not tell of it within {_PATIENCE:g} s: who is alive is not seen."
    return Problem(text, "Start it again; its log says more.")
