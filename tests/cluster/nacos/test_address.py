"""Addresses of a Nacos, and what is wrong with them."""

from pathlib import Path

import pytest
from cluster.nacos.kit import SystemClock

from agentmesh.errors import ConfigError
from agentmesh.registry.nacos import open_nacos
from agentmesh.registry.nacos.address import Address, read_address


def test_an_address_names_servers_and_a_namespace() -> None:
    assert read_address("nacos://one:8848,two:9000,three?namespace=dev") == Address(
        (("one", 8848), ("two", 9000), ("three", 8848)), "dev"
    )
    assert read_address("nacos://10.0.0.1").namespace == "public"
    assert read_address("nacos://a:1/").grpc == (("a", 1001),)


def test_an_address_may_want_tls(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("…")
    assert read_address("nacos://a:8848?tls=true").http == ("https://a:8848/nacos",)
    assert read_address(f"nacos://a:8848?ca={ca}") == Address((("a", 8848),), tls=True, ca=str(ca))


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("http://a:8848", "no address of a Nacos"),
        ("nacos:a", "no address of a Nacos"),
        ("nacos://", "'' is no HOST:PORT"),
        ("nacos://a:8848,", "'' is no HOST:PORT"),
        ("nacos://a b:8848", "'a b:8848' is no HOST:PORT"),
        ("nacos://a:port", "'port' is no port"),
        ("nacos://a:0", "'0' is no port"),
        ("nacos://a:65000", "'65000' is no port.*gRPC is at \\+ 1000"),
        ("nacos://user:secret@a:8848", "pass username= and password= beside it"),
        ("nacos://a:8848?namespce=x", "namespce='x' is not understood"),
        ("nacos://a:8848?namespace=", "namespace='' is not understood"),
        ("nacos://a:8848?namespace=a%20b", "a namespace is the id of one"),
        ("nacos://a:8848?tls", "no list of name=value"),
        ("nacos://a:8848?tls=yes", "tls is true or false, not 'yes'"),
        ("nacos://a:8848?ca=/nowhere.pem", "there is no file '/nowhere.pem'"),
        (f"nacos://a:8848?ca={__file__}&tls=false", "both ca= and tls=false"),
    ],
)
def test_what_is_wrong_with_an_address_is_said(url: str, wrong: str) -> None:
    with pytest.raises(ConfigError, match=wrong) as error:
        read_address(url)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("credentials", "wrong"),
    [
        ({"username": "me"}, "username and password .* go together"),
        ({"password": "secret"}, "username and password .* go together"),
        ({"username": "me", "password": "secret", "token": "secret"}, "pass one or the other"),
    ],
)
async def test_credentials_that_contradict_each_other_are_refused(credentials: dict[str, str], wrong: str) -> None:
    with pytest.raises(ConfigError, match=wrong) as error:
        await open_nacos("nacos://127.0.0.1:1", SystemClock(), **credentials)  # type: ignore[arg-type]
    assert "secret" not in str(error.value)
