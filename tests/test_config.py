"""Settings: which place counts, and what is said of those that are wrong."""

from dataclasses import fields
from pathlib import Path

import pytest

from agentmesh.config import SETTINGS, Config, load_config, origins
from agentmesh.errors import ConfigError


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(text: str, name: str = "agentmesh.yaml") -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_without_anything_the_defaults_hold() -> None:
    assert load_config(env={}) == Config()
    assert Config().broker == "local://.agentmesh"
    assert Config().agents == "agents"


def test_the_table_and_the_class_have_the_same_settings_and_defaults() -> None:
    assert {each.name: each.default for each in SETTINGS} == {each.name: each.default for each in fields(Config)}


def test_arguments_come_before_the_environment_before_the_file_before_the_defaults() -> None:
    write("broker: memory://file\nmodel: of-file\ntenant: of-file\n")
    env = {"AGENTMESH_BROKER": "memory://env", "AGENTMESH_MODEL": "of-env"}
    config = load_config(env=env, broker="memory://argument", model=None)
    assert (config.broker, config.model, config.tenant) == ("memory://argument", "of-env", "of-file")
    assert config.log_level == "info"


def test_each_setting_tells_where_it_comes_from() -> None:
    write("tenant: of-file\nmodel: of-file\n")
    found = origins(env={"AGENTMESH_MODEL": "of-env"}, broker="memory://x")
    assert (found["broker"], found["model"], found["tenant"]) == (
        "argument broker",
        "AGENTMESH_MODEL",
        "agentmesh.yaml",
    )
    assert found["log_level"] == "default"
    assert list(found) == [each.name for each in SETTINGS]


def test_an_empty_variable_counts_as_not_given() -> None:
    assert load_config(env={"AGENTMESH_BROKER": ""}).broker == "local://.agentmesh"


def test_openai_s_own_variables_choose_endpoint_and_key() -> None:
    config = load_config(env={"OPENAI_API_KEY": "sk-secret", "OPENAI_BASE_URL": "http://localhost:1/v1"})
    assert (config.api_key, config.base_url) == ("sk-secret", "http://localhost:1/v1")


def test_the_key_is_not_shown() -> None:
    assert "sk-secret" not in repr(load_config(env={"OPENAI_API_KEY": "sk-secret"}))


def test_a_key_in_a_file_is_refused_without_repeating_it() -> None:
    write("api_key: sk-secret\n")
    with pytest.raises(ConfigError, match=r"agentmesh\.yaml:1: api_key: .*OPENAI_API_KEY") as caught:
        load_config(env={})
    assert "sk-secret" not in str(caught.value)


def test_every_mistake_is_told_at_once_with_its_place_and_a_suggestion() -> None:
    write("brokr: memory://x\nlog_level: loud\nmodel: 3\n")
    env = {"AGENTMESH_MODLE": "x", "AGENTMESH_LOG_LEVEL": "warn"}
    with pytest.raises(ConfigError) as caught:
        load_config(env=env, tennant="acme", broker="nonsense")
    lines = str(caught.value).splitlines()
    assert lines == [
        "agentmesh.yaml:1: brokr: There is no setting 'brokr'. Did you mean 'broker'?",
        "agentmesh.yaml:2: log_level: log_level is one of debug, info, warning, error, not 'loud'.",
        "agentmesh.yaml:3: model: model is a text, not 3.",
        "AGENTMESH_MODLE: There is no such setting. Did you mean 'AGENTMESH_MODEL'?",
        "argument tennant: There is no such setting. Did you mean 'tenant'?",
        "argument broker: broker is an address such as local://DIR, not 'nonsense'.",
        "AGENTMESH_LOG_LEVEL: log_level is one of debug, info, warning, error, not 'warn'. Did you mean 'warning'?",
    ]


def test_variables_of_the_prefix_that_resemble_no_setting_are_somebody_s_own() -> None:
    load_config(env={"AGENTMESH_CLUSTER_TESTS": "1", "AGENTMESH_X": "1"})


def test_the_log_level_is_read_in_any_case() -> None:
    assert load_config(env={"AGENTMESH_LOG_LEVEL": "DEBUG"}).log_level == "debug"


def test_folders_in_a_file_are_meant_from_where_the_file_is() -> None:
    path = write("broker: local://data\nagents: bots\n", "deep/project/agentmesh.yaml")
    for given in (path, path.parent, str(path)):
        config = load_config(given, env={})
        assert (config.broker, config.agents) == ("local://deep/project/data", "deep/project/bots")
    assert load_config(path, env={"AGENTMESH_BROKER": "local://data"}).broker == "local://data"


def test_an_absolute_folder_in_a_file_stays(tmp_path: Path) -> None:
    path = write(f"broker: local://{tmp_path}/data\n", "deep/agentmesh.yaml")
    assert load_config(path, env={}).broker == f"local://{tmp_path}/data"


@pytest.mark.parametrize("text", ["- a\n", "broker: [1\n", "just text\n", "broker: !!python/name:os.system ''\n"])
def test_a_file_that_is_no_mapping_of_settings_is_named(text: str) -> None:
    write(text)
    with pytest.raises(ConfigError, match=r"agentmesh\.yaml:\d"):
        load_config(env={})


def test_an_empty_file_and_empty_settings_say_nothing() -> None:
    write("# nothing\n")
    assert load_config(env={}) == Config()
    write("broker:\nmodel:\n")
    assert load_config(env={}) == Config()


def test_a_file_that_was_asked_for_must_be_there() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: .*No such file"):
        load_config("nowhere.yaml", env={})


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("300000", 300_000),
        ("300KB", 300_000),
        ("300 kb", 300_000),
        ("256KiB", 262_144),
        ("1MB", 1_000_000),
        ("1000B", 1000),
    ],
)
def test_sizes_are_bytes_or_have_a_unit(text: str, size: int) -> None:
    assert load_config(env={"AGENTMESH_BLOB_THRESHOLD": text}).blob_threshold == size
    write(f"blob_threshold: {text}\n")
    assert load_config(env={}).blob_threshold == size
    assert load_config(env={}, blob_threshold=5000).blob_threshold == 5000


@pytest.mark.parametrize("text", ["many", "-1", "1.5MB", "MB", "1TB", "1 K B", "'300KBB'", "[1]", "true", "999", "2MB"])
def test_a_size_that_is_none_or_out_of_range_is_refused(text: str) -> None:
    write(f"blob_threshold: {text}\n")
    with pytest.raises(ConfigError, match=r"agentmesh\.yaml:1: blob_threshold: blob_threshold is "):
        load_config(env={})


def test_the_range_of_a_size_is_told() -> None:
    with pytest.raises(ConfigError, match="blob_limit is from 1,000,000 to 1,000,000,000 bytes, not 999,999"):
        load_config(env={}, blob_limit=999_999)


def test_the_store_of_large_bodies_is_a_url() -> None:
    assert load_config(env={"AGENTMESH_BLOBS": "s3://bucket/x"}).blobs == "s3://bucket/x"
    with pytest.raises(ConfigError, match="blobs is an address"):
        load_config(env={}, blobs="/var/lib/blobs")


def test_registries_are_one_address_or_several_in_a_list_or_a_text() -> None:
    several = ("nacos://h:8848?namespace=prod", "direct:", "well-known:https://a.example/base", "mesh:")
    assert load_config(env={}).registries == ()
    assert load_config(env={"AGENTMESH_REGISTRY": "nacos://h:8848"}).registries == ("nacos://h:8848",)
    assert load_config(env={"AGENTMESH_REGISTRY": "  ".join(several)}).registries == several
    assert load_config(env={}, registry=list(several)).registries == several
    write("registry:\n" + "".join(f"  - {each}\n" for each in several))
    assert load_config(env={}).registries == several


@pytest.mark.parametrize("text", ["direct", "[direct]", "\n  - direct:", "'direct:'", "\n  direct:"])
def test_a_registry_that_is_a_word_may_do_without_its_colon_which_yaml_reads_otherwise(text: str) -> None:
    write(f"registry: {text}\n")
    assert load_config(env={}).registries == ("direct:",)


@pytest.mark.parametrize(
    "text", ["consul://h:1", "nacos://", "[]", "3", "[3]", "[direct, direct]", "elsewhere", "{a: 1}", "[{direct: 1}]"]
)
def test_what_is_no_address_of_a_registry_is_refused_with_those_that_are(text: str) -> None:
    write(f"registry: {text}\n")
    with pytest.raises(ConfigError, match=r"agentmesh\.yaml:1: registry: registry(:| is) ") as caught:
        load_config(env={})
    assert "twice" in str(caught.value) or "nacos://HOST:PORT" in str(caught.value)


@pytest.mark.parametrize("name", ["access_key", "secret_key", "registry_user", "registry_password", "registry_token"])
def test_what_opens_a_cluster_comes_from_the_environment_and_is_not_shown(name: str) -> None:
    variable = f"AGENTMESH_{name.upper()}"
    config = load_config(env={variable: "hush"})
    assert getattr(config, name) == "hush"
    assert "hush" not in repr(config)
    write(f"{name}: hush\n")
    with pytest.raises(ConfigError, match=variable) as caught:
        load_config(env={})
    assert "hush" not in str(caught.value)


def test_cards_are_files_urls_and_cards_and_files_are_meant_from_where_the_settings_are() -> None:
    path = write(
        "cards:\n  - cards/a.json\n  - https://a.example/card.json\n  - {name: 译者, version: '1'}\n",
        "deep/agentmesh.yaml",
    )
    assert load_config(path, env={}).cards == (
        "deep/cards/a.json",
        "https://a.example/card.json",
        {"name": "译者", "version": "1"},
    )
    assert load_config(env={"AGENTMESH_CARDS": "a.json b.json"}).cards == ("a.json", "b.json")
    assert load_config(env={}, cards=[Path("a.json")]).cards == ("a.json",)


@pytest.mark.parametrize("text", ["3", "[]", "[3]", "[[a]]", "{a: 1}", "[{}]"])
def test_what_is_no_list_of_cards_is_refused(text: str) -> None:
    write(f"cards: {text}\n")
    with pytest.raises(ConfigError, match=r"agentmesh\.yaml:1: cards: cards"):
        load_config(env={})
