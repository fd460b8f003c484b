"""Whatever comes to the socket, or listens there: nobody else is harmed, and clients are told what is wrong."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from local.kit import TOPIC, Programs, joined, until
from local.raw import Raw

from agentmesh.broker.local import LocalBroker, open_local, wire
from agentmesh.broker.local.folder import Folder
from agentmesh.clock import SystemClock
from agentmesh.contracts import Delivery
from agentmesh.errors import BrokerUnavailable, PayloadCorrupt
from agentmesh.message import Draft, Message


@pytest.fixture
async def broker(programs: Programs, folder: Path) -> AsyncIterator[LocalBroker]:
    """Another client, who is to notice nothing."""
    async with joined(folder, alone=False) as opened:
        await opened.declare(TOPIC, Delivery())
        yield opened


def memory(pid: int) -> int:
    """Of the process, in MB (proc_pid_statm(5))."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1_000_000


RUBBISH = {
    "another protocol": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a length beyond the limit": b"\xff\xff\xff\xff",
    "no MessagePack": b"\x00\x00\x00\x04\xc1\xc1\xc1\xc1",
    "another shape": b"\x00\x00\x00\x01\x01",
    "a hello of something else": wire.record(["telnet", 1, "1", "x"]),
    "a huge hello": (9_999_999).to_bytes(4, "big") + b"x" * 20_000,
}


async def test_rubbish_is_cut_off_and_harms_nobody(broker: LocalBroker, folder: Path) -> None:
    for said in RUBBISH.values():
        raw = await Raw.connect(folder)
        raw.send_bytes(said)
        assert await raw.read() is None
    for said in RUBBISH.values():
        raw = await Raw.hello(folder, f"{os.getpid()}-1-rubbish")
        raw.send_bytes(said[:1000])
        raw.send_bytes(b"\xff" * 10_000_000)
        while await raw.read() is not None:
            pass
    await broker.append("log-a", [Draft("data", 1)])


STRANGE: dict[str, tuple[list[Any], str]] = {
    "an unknown operation": (["explode", []], "knows no 'explode'"),
    "wrong types": (["append", [1, 2, 3]], "Arguments that are none"),
    "too few": (["publish", []], "Arguments that are none"),
    "a message that is none": (["publish", [b"\xc1"]], "Wire version 193"),
    "a number that no store holds": (["discard", [TOPIC, [2**63], []]], "Arguments that are none"),
    "a name that is none": (["append", ["../x", [["", "data", b"\x01\x01"]], None, None, ""]], "."),
    "a topic that is not there": (["lease", [["NoTask"], 1, 0.0, "w", []]], "NoTask"),
    "a lease that nobody has": (["ack", ["token", 1, "call-1", [], []]], "does not hold its lease"),
    "a time that is none": (["nack", ["token", 1, "call-1", "", -1, "", []]], "Arguments that are none"),
    "a card that is none": (["register", [TOPIC, "1", b"{", "me"]], "."),
}


async def test_a_request_that_makes_no_sense_is_refused_alone(broker: LocalBroker, folder: Path) -> None:
    raw = await Raw.hello(folder, f"{os.getpid()}-1-strange")
    for number, (what, (asked, match)) in enumerate(STRANGE.items()):
        _, well, (_, message, _) = await raw.ask(2 * number + 1, *asked)
        assert not well, what
        assert match in message, what
        assert await raw.ask(2 * number + 2, "ping", []) == [2 * number + 2, True, None]
    await broker.append("log-a", [Draft("data", 1)])


async def test_whoever_falls_silent_in_the_middle_of_a_record_keeps_nobody_waiting(
    broker: LocalBroker, folder: Path
) -> None:
    raws = [await Raw.connect(folder) for _ in range(20)]
    for raw in raws[:10]:
        raw.send_bytes(b"\x00\x00")
    raw = await Raw.hello(folder, f"{os.getpid()}-1-silent")
    raw.send_bytes((100_000_000).to_bytes(4, "big") + b"x" * 1000)
    await asyncio.wait_for(broker.append("log-a", [Draft("data", 1)]), 2)
    for each in (*raws, raw):
        each.close()


async def test_a_client_that_does_not_read_costs_the_host_little(
    programs: Programs, broker: LocalBroker, folder: Path
) -> None:
    await broker.append("log-big", [Draft("data", "x" * 100_000) for _ in range(9)])
    raw = await Raw.hello(folder, f"{os.getpid()}-1-deaf")
    before = memory(programs.host())
    asks = b"".join(wire.record([number, [], "read", ["log-big", -1, 100, 0]]) for number in range(1, 3001))
    raw.send_bytes(asks)
    raw.reader._transport.pause_reading()  # type: ignore[attr-defined]
    for number in range(200):
        await asyncio.wait_for(broker.append("log-a", [Draft("data", number)]), 2)
    assert memory(programs.host()) - before < 60
    raw.reader._transport.resume_reading()  # type: ignore[attr-defined]
    for number in range(1, 101):
        assert (await raw.read())[:2] == [number, True]
    raw.close()


async def test_answers_too_large_for_one_record_come_in_parts(broker: LocalBroker) -> None:
    data = "x" * 1_000_000
    for at in range(0, 40, 10):
        await broker.append("log-big", [Draft("data", [at + each, data]) for each in range(10)])
    assert [entry.data[0] for entry in await broker.read("log-big")] == list(range(40))
    assert [entry.data[0] for entry in await broker.read("log-big", 5, 20)] == list(range(6, 26))
    inbox = broker.inbox("me")
    await inbox.subscribe("log-big", -1)
    seen: list[int] = []
    while len(seen) < 40:
        for batch in await inbox.poll(10, 5):
            seen += [entry.data[0] for entry in batch.entries]
            await inbox.commit({"log-big": batch.entries[-1].offset})
    assert seen == list(range(40))
    bodies = [bytes([number]) * 1_000_000 for number in range(20)]
    for number, body in enumerate(bodies):
        await broker.publish(Message(id=f"call-{number}", topic=TOPIC, body=body))
    assert [stored.message.body for stored in await broker.browse(TOPIC)] == bodies
    assert len(await broker.browse(TOPIC, limit=7)) == 7


async def test_a_request_beyond_the_limit_is_refused_where_it_is_made(
    broker: LocalBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agentmesh.broker.local import link

    monkeypatch.setattr(link, "MAX_RECORD", 10_000)
    with pytest.raises(PayloadCorrupt, match="for one append: 10,000 is the limit"):
        await broker.append("log-a", [Draft("data", "x" * 20_000)])
    assert await broker.append("log-a", [Draft("data", "x")]) == 0


async def test_a_client_of_another_version_is_told_what_to_do(programs: Programs, folder: Path) -> None:
    program = await programs.start()
    await program.do("append", "log-a", 0)
    raw = await Raw.hello(folder, "4711-1-other", protocol=2)
    assert raw.said[3] == "refused"
    for part in (f"pid {program.pid}", "this is 9.9 (protocol 2)", "Use one version on a folder"):
        assert part in raw.said[4]
    assert await program.do("hosts")
    async with joined(folder, alone=False):
        again = await Raw.hello(folder, "4711-1-other", protocol=2)
        assert f"pid {programs.host()}" in again.said[4]


async def test_a_host_of_another_version_refuses_us_by_name(
    programs: Programs, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = await programs.start()
    from agentmesh.broker.local import finder

    monkeypatch.setattr(finder, "PROTOCOL", 2)
    with pytest.raises(
        BrokerUnavailable, match=rf"hosted by agentmesh .* \(pid {program.pid}, protocol 1\).*protocol 2"
    ):
        await open_local(folder, SystemClock())
    assert await program.do("append", "log-a", 0) == 0


async def listening(folder: Path, answer: bytes) -> asyncio.Server:
    """Somebody else's program at the folder's socket."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(answer)
        await reader.read()
        writer.close()

    Folder(folder)
    (folder / "socket").unlink(missing_ok=True)
    return await asyncio.start_unix_server(serve, folder / "socket")


async def test_a_strangers_socket_gives_way_where_nobody_hosts(programs: Programs, folder: Path) -> None:
    server = await listening(folder, b"220 mail.example.org ESMTP\r\n")
    async with joined(folder, alone=False) as broker:
        assert await broker.append("log-a", [Draft("data", 1)]) == 0
    server.close()


async def test_a_stranger_at_the_socket_of_a_host_is_told(
    programs: Programs, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agentmesh.broker.local import finder

    monkeypatch.setattr(finder, "_PATIENCE", 1.0)
    program = await programs.start()
    await program.do("append", "log-a", 0)
    server = await listening(folder, b"220 mail.example.org ESMTP\r\n")
    with pytest.raises(BrokerUnavailable, match="what listens at its socket is no agentmesh"):
        await open_local(folder, SystemClock())
    server.close()


async def test_many_connections_that_come_and_go_leave_nothing(
    programs: Programs, broker: LocalBroker, folder: Path
) -> None:
    host = programs.host()

    def descriptors() -> int:
        return len(os.listdir(f"/proc/{host}/fd"))

    before = descriptors()
    for number in range(100):
        raw = await Raw.hello(folder, f"99999999-1-{number}")  # no such process: its session ends soon
        raw.close()
    await until(lambda: descriptors() <= before + 2)
    await broker.append("log-a", [Draft("data", 1)])
