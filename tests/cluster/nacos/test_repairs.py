"""What is repaired of nacos-sdk-python 2.0.11. Each test shows what happens with the repair and without it."""

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import psutil
import pytest
from cluster.nacos.kit import until
from cluster.nacos.tls import behind_tls, certificate
from grpc.aio import AioRpcError

from agentmesh.errors import RegistryUnavailable, Unauthorized
from agentmesh.registry.nacos import sdk
from agentmesh.registry.nacos.address import read_address
from agentmesh.registry.nacos.refusals import Refused
from agentmesh.registry.nacos.sdk import Link, Repairs
from deploy.nacos import NacosServer

Linker = Callable[..., Awaitable[Link]]
both = pytest.mark.parametrize("repaired", [True, False])


async def nobody(fresh: bool) -> dict[str, str]:
    return {}


@pytest.fixture
async def linker() -> AsyncIterator[Linker]:
    sdk.load()
    async with AsyncExitStack() as stack:

        async def link(url: str, repairs: Repairs) -> Link:
            found = Link(read_address(url), nobody, "config", lambda: None, {}, repairs)
            stack.push_async_callback(found.close)
            await found.open()
            await until(lambda: found.connects)
            return found

        yield link


async def restart(server: NacosServer) -> None:
    await asyncio.to_thread(server.kill)
    await server.started()


def query() -> object:
    from v2.nacos.config.model.config_request import ConfigQueryRequest

    return ConfigQueryRequest(group="g", dataId="d", tenant="public")


@both
async def test_an_unregistered_connection_is_not_healthy(server: NacosServer, linker: Linker, repaired: bool) -> None:
    link = await linker(server.url, Repairs(health=repaired, stream=False))
    await restart(server)
    for _ in range(20):  # the channel comes back by itself, the registration does not
        told = await link._rpc.send_health_check()
        if told:
            break
        await asyncio.sleep(0.1)
    assert told is not repaired


@both
async def test_two_who_reconnect_make_one_connection(server: NacosServer, linker: Linker, repaired: bool) -> None:
    from v2.nacos.transport.rpc_client import ReconnectContext

    link = await linker(server.url, Repairs(reconnect=repaired, stream=False))
    await restart(server)
    await asyncio.gather(*(link._rpc.reconnect(ReconnectContext(None, False)) for _ in range(3)))
    await until(lambda: link.running)
    await asyncio.sleep(0.3)
    assert link.connects == (2 if repaired else 4)


@both
async def test_a_failed_attempt_leaves_the_root_logger_alone(
    server: NacosServer, linker: Linker, caplog: pytest.LogCaptureFixture, repaired: bool
) -> None:
    from v2.nacos.transport.rpc_client import ReconnectContext

    link = await linker(server.url, Repairs(reconnect=repaired, stream=False))
    await asyncio.to_thread(server.kill)
    with caplog.at_level(logging.DEBUG, logger="root"):
        trying = asyncio.create_task(link._rpc.reconnect(ReconnectContext(None, False)))
        await asyncio.sleep(4)  # an attempt takes three seconds
        trying.cancel()
        await asyncio.gather(trying, return_exceptions=True)
    noise = [record for record in caplog.records if "failed to connect server" in record.message]
    assert bool(noise) is not repaired


@both
async def test_the_end_of_a_connection_is_seen_at_once(server: NacosServer, linker: Linker, repaired: bool) -> None:
    if not repaired:
        logging.getLogger("asyncio").disabled = True  # "Task exception was never retrieved"
    link = await linker(server.url, Repairs(stream=repaired))
    await restart(server)
    await asyncio.sleep(2)  # its own check comes every five seconds
    assert link.connects == (2 if repaired else 1)
    logging.getLogger("asyncio").disabled = False


@both
async def test_a_refusal_keeps_its_code_and_the_connection(
    guarded: NacosServer, linker: Linker, repaired: bool
) -> None:
    from v2.nacos.common.nacos_exception import NacosException

    link = await linker(guarded.url, Repairs(requests=repaired))
    with pytest.raises(Unauthorized if repaired else NacosException) as error:
        await link.request(query())
    assert link.running is repaired
    if not repaired:
        assert error.value.error_code == 500  # type: ignore[attr-defined]


@both
async def test_a_request_that_fails_has_the_connection_replaced(
    server: NacosServer, linker: Linker, repaired: bool
) -> None:
    from v2.nacos.common.nacos_exception import NacosException

    if not repaired:
        logging.getLogger("asyncio").disabled = True  # "Task exception was never retrieved"
    link = await linker(server.url, Repairs(requests=repaired, stream=False))
    await asyncio.to_thread(server.kill)
    with pytest.raises(RegistryUnavailable if repaired else (AioRpcError, NacosException)):
        await link.request(query())
    assert link.running is not repaired  # as it comes it does not know yet
    await server.started()
    if repaired:
        await until(lambda: link.running)
        with pytest.raises(Refused, match="not exist"):  # it is answered: there is no such document
            await link.request(query())
    logging.getLogger("asyncio").disabled = False


@both
async def test_tls_needs_no_certificate_of_the_client(
    server: NacosServer, linker: Linker, tmp_path: Path, repaired: bool
) -> None:
    pair = certificate(tmp_path)
    async with behind_tls(server.port, pair) as address:
        url = f"nacos://{address}?tls=true&ca={pair[0]}"
        if repaired:
            link = await linker(url, Repairs())
            assert link.running
            await link.close()
        else:
            with pytest.raises(RegistryUnavailable):
                await linker(url, Repairs(tls=False))


@both
async def test_a_machine_without_an_address_of_its_own_can_send(
    server: NacosServer, linker: Linker, monkeypatch: pytest.MonkeyPatch, repaired: bool
) -> None:
    sdk.load()
    from v2.nacos.utils.net_util import NetUtils

    known = NetUtils.get_local_ip
    known.cache_clear()
    monkeypatch.setattr(NetUtils, "get_local_ip", staticmethod(known))
    monkeypatch.setattr(psutil, "net_if_addrs", dict)
    if repaired:
        assert (await linker(server.url, Repairs())).running
    else:
        with pytest.raises(RegistryUnavailable):
            await linker(server.url, Repairs(address=False))
    known.cache_clear()


async def test_the_services_of_the_sdk_never_tell_that_the_last_one_left(server: NacosServer, tmp_path: Path) -> None:
    """Why they are not used; that ours does is in `test_liveness.py`."""
    command = [sys.executable, "-W", "ignore", Path(__file__).with_name("unrepaired.py"), "last", server.address]
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "[1]", done.stderr
