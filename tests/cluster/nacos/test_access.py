"""Who may use a Nacos, how it is reached, and what of that is written down anywhere."""

import asyncio
import logging
import os
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from cluster.nacos.conftest import Opener
from cluster.nacos.forgetful import forgetful
from cluster.nacos.kit import agent, alive, until_alive
from cluster.nacos.tls import behind_tls, certificate

from agentmesh.errors import RegistryUnavailable, Unauthorized
from deploy.nacos import PASSWORD, USER, NacosServer

MARK = "a card of which nobody is to find a copy"


async def token_of(server: NacosServer) -> str:
    async with httpx2.AsyncClient(trust_env=False) as client:
        data = {"username": USER, "password": PASSWORD}
        answer = await client.post(f"http://{server.address}/nacos/v1/auth/users/login", data=data)
    return str(answer.json()["accessToken"])


async def test_a_user_with_a_password_may_use_it(guarded: NacosServer, opener: Opener) -> None:
    one = await opener(guarded.url, username=USER, password=PASSWORD)
    other = await opener(guarded.url, token=await token_of(guarded))
    await one.register(agent())
    await until_alive(other, ("WeatherTask", "1.0.0"))
    await other.point("WeatherTask", labels={"gray": "1.0.0"})


@pytest.mark.parametrize(
    ("credentials", "wrong"),
    [
        ({}, "Pass username= and password=, or token="),
        ({"token": "stale"}, "Pass username= and password=, or token="),
        ({"username": USER, "password": "hunter2"}, "does not know the user 'nacos' with this password"),
        ({"username": "nobody", "password": "hunter2"}, "does not know the user 'nobody'"),
    ],
)
async def test_whom_it_does_not_know_is_told_so(
    guarded: NacosServer, opener: Opener, credentials: dict[str, str], wrong: str
) -> None:
    with pytest.raises(Unauthorized, match=wrong) as error:
        await opener(guarded.url, **credentials)
    assert "hunter2" not in str(error.value)


async def test_a_token_that_ran_out_is_fetched_anew(guarded: NacosServer, opener: Opener) -> None:
    one = await opener(guarded.url, username=USER, password=PASSWORD)
    one._auth._token = "what it was before the server lost its sessions"
    await one.register(agent())
    assert await alive(one) == [("WeatherTask", "1.0.0")]


async def test_a_server_with_tls_is_reached_with_its_authority(
    guarded: NacosServer, opener: Opener, tmp_path: Path
) -> None:
    pair = certificate(tmp_path)
    async with behind_tls(guarded.port, pair) as address:
        one = await opener(f"nacos://{address}?tls=true&ca={pair[0]}", username=USER, password=PASSWORD)
        await one.register(agent())
        assert await alive(one) == [("WeatherTask", "1.0.0")]
        await one.close()


async def test_a_certificate_that_nobody_vouches_for_is_refused(
    server: NacosServer, opener: Opener, tmp_path: Path
) -> None:
    async with behind_tls(server.port, certificate(tmp_path)) as address:
        with pytest.raises(RegistryUnavailable, match="cannot be reached"):
            await opener(f"nacos://{address}?tls=true")


async def test_a_server_that_answers_true_and_stores_nothing_is_found_out(opener: Opener) -> None:
    async with forgetful() as url:
        one = await opener(url)
        with pytest.raises(RegistryUnavailable, match="says that it stored a document, and does not have it"):
            await one.register(agent())
        assert await alive(one) == []
        await one.close()


async def test_neither_tokens_nor_cards_are_written_down(
    guarded: NacosServer,
    opener: Opener,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)
    handlers = list(logging.getLogger().handlers)
    with caplog.at_level(logging.DEBUG):
        one = await opener(guarded.url, username=USER, password=PASSWORD)
        await one.register(agent(text=MARK))
        with pytest.raises(Unauthorized):
            await opener(guarded.url, token="a stale token")
        token = one._auth._token
        await asyncio.to_thread(guarded.kill)
        await guarded.started()
        await until_alive(one, ("WeatherTask", "1.0.0"))
    assert list(home.rglob("*")) == []
    assert logging.getLogger().handlers == handlers
    for secret in (PASSWORD * 2, token, "a stale token", MARK):
        assert secret not in caplog.text
    assert logging.getLogger("naming").handlers == logging.getLogger("config").handlers == []


async def test_the_services_of_the_sdk_would_write_them_down(guarded: NacosServer, tmp_path: Path) -> None:
    """Why they are not used."""
    program = Path(__file__).with_name("unrepaired.py")
    environment = {**os.environ, "HOME": str(tmp_path)}
    command = [sys.executable, "-W", "ignore", program, "secrets", guarded.address, USER, PASSWORD, MARK]
    done = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, check=False
    )
    token = done.stdout.strip()
    assert token, done.stderr
    written = "".join(path.read_text() for path in tmp_path.rglob("*.log"))
    assert token in written
    assert MARK in written
