"""What a rocketmq:// URL says, and what is wrong with one."""

import pytest

from agentmesh.broker.rocketmq.address import Address, Credentials, read_address, split_endpoint
from agentmesh.errors import ConfigError


def test_a_url_names_the_proxy_and_everything_else_has_a_default() -> None:
    address = read_address("rocketmq://proxy.example:8081")
    assert address == Address("proxy.example:8081")
    assert address.remoting_endpoint == "proxy.example:8080"
    assert not address.tls


def test_all_parameters_are_read() -> None:
    url = "rocketmq://h:1?remoting=b:10911&namespace=t1&tls=true&ca=/ca.pem&remoting_tls=no"
    assert read_address(url) == Address("h:1", "b:10911", "t1", None, True, "/ca.pem", False)


def test_without_a_port_it_is_8081() -> None:
    assert read_address("rocketmq://proxy").endpoint == "proxy:8081"


def test_an_authority_alone_asks_for_tls() -> None:
    assert read_address("rocketmq://h:1?ca=/ca.pem").tls


def test_an_ipv6_address_keeps_its_brackets() -> None:
    address = read_address("rocketmq://[::1]:8081")
    assert split_endpoint(address.endpoint) == ("[::1]", 8081)
    assert address.remoting_endpoint == "[::1]:8080"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://h:1", "does not begin with rocketmq://"),
        ("rocketmq://", "names no host"),
        ("rocketmq://h:0", "no HOST:PORT"),
        ("rocketmq://h:70000", "no HOST:PORT"),
        ("rocketmq://h:x", "no HOST:PORT"),
        ("rocketmq://h:1,g:2", "no HOST:PORT"),
        ("rocketmq://h:1/path", "/path"),
        ("rocketmq://h:1#part", "#part"),
        ("rocketmq://h:1?remotin=b:2", "Did you mean 'remoting'?"),
        ("rocketmq://h:1?remoting=", "'remoting' is empty"),
        ("rocketmq://h:1?tls=maybe", "neither true nor false"),
        ("rocketmq://h:1?tls=true&tls=true", "twice"),
        ("rocketmq://h:1?tls=false&ca=/x", "Leave one out"),
        ("rocketmq://h:1?remoting=b:c", "no HOST:PORT"),
        ("rocketmq://h:1?namespace=1-2", "cannot be a namespace"),
        ("rocketmq://[::1", "no URL"),
        ("rocketmq://h:1?=", "no parameter ''"),
    ],
)
def test_a_wrong_url_is_refused_with_what_is_wrong(url: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_address(url)
    assert said in str(caught.value)


def test_credentials_in_a_url_are_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        read_address("rocketmq://admin:secret-1@h:1")
    assert "secret-1" not in str(caught.value)


def test_one_key_without_the_other_is_refused() -> None:
    with pytest.raises(ConfigError, match="no secret key"):
        read_address("rocketmq://h:1", access_key="a")
    with pytest.raises(ConfigError, match="no access key"):
        read_address("rocketmq://h:1", secret_key="s")


def test_the_secret_key_is_never_shown() -> None:
    address = read_address("rocketmq://h:1", "user", "secret-1")
    assert address.credentials == Credentials("user", "secret-1")
    assert "secret-1" not in repr(address)
    assert "secret-1" not in str(address.credentials)
