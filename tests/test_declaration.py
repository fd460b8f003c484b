"""Agents declared by a class, by agent.yaml, and by both."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any, NoReturn

import pytest
from pydantic import BaseModel

from agentmesh import Agent, skill
from agentmesh.card import read_card, write_card
from agentmesh.contracts import Delivery, Quota, Rate, Retry, RetryOn
from agentmesh.errors import DeclarationError, InvalidInput, InvalidOutput
from agentmesh.runtime.declaration import declare, load


class Forecast(BaseModel):
    city: str
    high: int


class WeatherAgent(Agent):
    """Weather for Chinese cities."""

    delivery = Delivery(concurrency=2, retry=Retry(lost=5))

    @skill(examples=["杭州周末天气"], tags=["weather"])
    async def forecast(self, city: str, days: int = 3, *, ctx: Any) -> Forecast:
        """The forecast of a city."""
        return Forecast(city=city, high=days)

    @skill(id="sun-rise", name="Sunrise", description="When the sun rises.", confirm=True)
    def sunrise(self, city: str) -> str:
        """Not this."""
        return "6:00"

    def helper(self) -> None: ...


def folder(tmp_path: Path, yaml: str, name: str = "travel", **files: str) -> Path:
    """An agent's folder with this agent.yaml; `agent` is agent.py."""
    place = tmp_path / name
    place.mkdir(parents=True, exist_ok=True)
    (place / "agent.yaml").write_text(textwrap.dedent(yaml), encoding="utf-8")
    for module, text in files.items():
        (place / f"{module}.py").write_text(textwrap.dedent(text), encoding="utf-8")
    return place


TRAVEL = """
    from agentmesh import Agent, skill

    class TravelAgent(Agent):
        '''Plans trips.'''

        @skill(tags=["travel"])
        async def plan(self, request: str, days: int = 2, *, ctx) -> dict[str, str]:
            '''An itinerary.'''
            return {"text": request * days}

        def pack(self, items):
            return {"packed": items}
"""


def test_a_class_alone_declares_topic_name_description_and_skills() -> None:
    agent = WeatherAgent()
    declaration = declare(agent)
    assert (declaration.topic, declaration.name) == ("WeatherAgentTask", "WeatherAgent")
    assert (declaration.version, declaration.description) == ("1.0.0", "Weather for Chinese cities.")
    assert declaration.agent is agent
    assert declaration.delivery == Delivery(concurrency=2, retry=Retry(lost=5))
    assert list(declaration.skills) == ["forecast", "sun-rise"]
    forecast, sunrise = declaration.skills.values()
    assert (forecast.is_async, forecast.context, forecast.confirm) == (True, "ctx", False)
    assert (forecast.name, forecast.description) == ("forecast", "The forecast of a city.")
    assert forecast.parse({"city": "杭州"}) == {"city": "杭州", "days": 3}
    assert (sunrise.is_async, sunrise.context, sunrise.confirm) == (False, None, True)
    assert (sunrise.name, sunrise.description) == ("Sunrise", "When the sun rises.")
    assert sunrise.handler("x") == "6:00"


async def test_a_skill_is_called_like_any_method() -> None:
    agent = WeatherAgent()
    assert await agent.forecast("x", 4, ctx=None) == Forecast(city="x", high=4)
    assert agent.sunrise("x") == "6:00"


def test_the_card_carries_skills_schemas_and_the_way_to_the_agent() -> None:
    card = read_card(write_card(declare(WeatherAgent()).card()))
    assert card.name == "WeatherAgent"
    assert [(each.id, each.tags, each.examples) for each in card.skills] == [
        ("forecast", ("weather",), ("杭州周末天气",)),
        ("sun-rise", ("sun-rise",), ()),
    ]
    source, result = card.schemas("forecast")
    assert source is not None
    assert result is not None
    assert source["required"] == ["city"]
    assert set(result["properties"]) == {"city", "high"}
    assert card.confirms("sun-rise")
    assert card.capabilities.streaming
    assert card.supported_interfaces[0].url == "agentmesh:WeatherAgentTask"
    assert card.supported_interfaces[0].protocol_binding.startswith("urn:agentmesh:")


def test_what_a_class_says_of_itself_comes_before_the_defaults() -> None:
    class Named(WeatherAgent):
        topic = "weather-cn"
        name = "天气"
        version = "2.1.0"
        description = "Said here."

    declaration = declare(Named())
    assert (declaration.topic, declaration.name) == ("weather-cn", "天气")
    assert (declaration.version, declaration.description) == ("2.1.0", "Said here.")


def test_a_subclass_has_its_own_topic_and_its_parents_docstring() -> None:
    class Parent(WeatherAgent):
        topic = "explicit"

    class Child(Parent): ...

    declaration = declare(Child())
    assert declaration.topic == "ChildTask"
    assert declaration.description == "Weather for Chinese cities."


def test_an_overridden_skill_keeps_its_mark_and_has_its_own_types() -> None:
    class Other(WeatherAgent):
        async def forecast(self, city: str, days: int = 3, *, hour: int, ctx: Any) -> Forecast:  # type: ignore[override]
            return Forecast(city=city, high=hour)

        sunrise = None  # type: ignore[assignment]

    declaration = declare(Other())
    assert list(declaration.skills) == ["forecast"]
    skill_ = declaration.skills["forecast"]
    assert skill_.tags == ("weather",)
    assert skill_.description == "The forecast of a city."
    assert skill_.input_schema["required"] == ["city", "hour"]


def test_types_defined_in_a_function_are_found_for_text_annotations() -> None:
    class Place(BaseModel):
        name: str

    class Guide(Agent):
        @skill
        async def show(self, place: Place) -> list[Place]:
            return [place]

    found = declare(Guide()).skills["show"]
    place = found.parse({"place": {"name": "西湖"}})["place"]
    assert place == Place(name="西湖")
    assert found.dump([place]) == [{"name": "西湖"}]


def test_a_result_that_does_not_match_is_invalid_output() -> None:
    found = declare(WeatherAgent()).skills["forecast"]
    assert found.dump(Forecast(city="x", high=1)) == {"city": "x", "high": 1}
    with pytest.raises(InvalidOutput, match="/high: Field required"):
        found.dump({"city": "x"})


def test_two_skills_of_one_id_are_refused_with_both_places() -> None:
    class Twice(Agent):
        @skill
        def plan(self) -> None: ...

        @skill(id="plan")
        def other(self) -> None: ...

    with pytest.raises(
        DeclarationError,
        match=r"test_declaration\.py:\d+: Twice\.other: there is a skill 'plan' already: .*Twice\.plan, test_d.*:\d+",
    ):
        declare(Twice())


def test_all_that_is_wrong_with_a_class_is_told_at_once() -> None:
    class Wrong(Agent):
        topic = "天气"
        version = "1 0"
        delivery = 3  # type: ignore[assignment]

        @skill
        def positional(self, a: int, /) -> None: ...

        @skill
        def many(self, *rest: int) -> None: ...

        @skill(id="no spaces")
        def spaced(self) -> None: ...

        @skill
        async def stream(self) -> Any:
            yield 1

    with pytest.raises(DeclarationError) as caught:
        declare(Wrong())
    text = str(caught.value)
    for expected in (
        "Wrong.topic: '天气' cannot name a topic",
        "Wrong.version: '1 0' is no version",
        "Wrong.delivery: a Delivery(…) is wanted, not 3",
        "Wrong.positional: parameter 'a': is filled in by name",
        "Wrong.many: parameter 'rest': is filled in by name",
        "Wrong.spaced: 'no spaces' cannot be a skill's id",
        "Wrong.stream: a skill returns its result once",
    ):
        assert expected in text
    assert caught.value.path.endswith("test_declaration.py")
    assert caught.value.line > 0


def test_what_cannot_be_served_says_what_to_pass() -> None:
    class Idle(Agent):
        def helper(self) -> None: ...

    with pytest.raises(DeclarationError, match=r"Idle: it has no skills: mark a method with @skill"):
        declare(Idle())
    with pytest.raises(DeclarationError, match=r"pass WeatherAgent\(\)"):
        declare(WeatherAgent)  # type: ignore[arg-type]
    with pytest.raises(DeclarationError, match="pass an instance of a class derived from Agent"):
        declare("agents/travel")  # type: ignore[arg-type]


def test_skill_on_anything_but_a_method_is_refused() -> None:
    with pytest.raises(DeclarationError, match="goes directly on a method"):
        skill(3)  # type: ignore[call-overload]
    with pytest.raises(DeclarationError, match="examples is a list of texts, not 'a text'"):

        @skill(examples="a text")
        def one() -> None: ...

    class Static(Agent):
        @staticmethod
        @skill
        def plan() -> None: ...

    with pytest.raises(DeclarationError, match=r"plan: @skill goes on a method with self, not on a staticmethod"):
        declare(Static())


def test_yaml_and_class_are_merged(tmp_path: Path) -> None:
    place = folder(
        tmp_path,
        """
        topic: TripTask
        name: 旅行规划
        version: 1.2.0
        description: From the YAML.
        class: agent:TravelAgent
        skills:
          - id: plan
            name: Plan
            description: A day-by-day itinerary.
            examples: ["杭州周边三日自驾"]
            confirm: true
            input: {type: object, properties: {days: {maximum: 9, description: how many}}}
            output: {type: object, required: [text]}
        delivery: {concurrency: 3, timeout: 2m, lease: 500ms, retry: {on: [TimeoutError], backoff: 1.5s, max: 1h}}
        """,
        agent=TRAVEL,
    )
    declaration = load(place)
    assert (declaration.topic, declaration.name, declaration.version) == ("TripTask", "旅行规划", "1.2.0")
    assert declaration.description == "From the YAML."
    assert declaration.delivery == Delivery(
        concurrency=3, timeout=120, lease=0.5, retry=Retry(on=("TimeoutError",), backoff=1.5, max=3600)
    )
    assert declaration.source == str(place / "agent.yaml")
    plan = declaration.skills["plan"]
    assert (plan.name, plan.description, plan.confirm) == ("Plan", "A day-by-day itinerary.", True)
    assert (plan.tags, plan.examples) == (("travel",), ("杭州周边三日自驾",))
    assert plan.context == "ctx"
    assert plan.input_schema["properties"]["days"] == {
        "type": "integer",
        "default": 2,
        "maximum": 9,
        "description": "how many",
    }
    assert plan.parse({"request": "x", "days": 9}) == {"request": "x", "days": 9}
    with pytest.raises(InvalidInput, match=r"/days: 10 is greater .*; /request: Field required; /x: Extra inputs"):
        plan.parse({"days": 10, "x": 1})
    with pytest.raises(InvalidOutput, match="/text: Field required"):
        plan.dump({"other": "x"})
    with pytest.raises(InvalidOutput, match="/text: "):
        plan.dump({"text": 3})


def test_a_plain_method_becomes_a_skill_by_its_name_in_yaml(tmp_path: Path) -> None:
    yaml = """
        class: agent:Packer
        skills:
          - id: pack-all
            input: {type: object, properties: {items: {type: array, items: {type: string}}}, required: [items]}
            output: {type: object}
        """
    agent = """
        import agentmesh

        class Packer(agentmesh.Agent):
            def pack_all(self, items):
                '''Packs.'''
                return {"packed": items}
        """
    declaration = load(folder(tmp_path, yaml, agent=agent))
    pack = declaration.skills["pack-all"]
    assert pack.description == "Packs."
    assert pack.input_schema["properties"] == {"items": {"type": "array", "items": {"type": "string"}}}
    assert pack.handler(**pack.parse({"items": ["x"]})) == {"packed": ["x"]}
    assert pack.dump({"packed": ["x"]}) == {"packed": ["x"]}
    with pytest.raises(InvalidInput, match="/items/0: "):
        pack.parse({"items": [1]})
    with pytest.raises(InvalidOutput):
        pack.dump([])


def test_a_contradiction_names_both_places(tmp_path: Path) -> None:
    place = folder(
        tmp_path,
        """
        topic: TravelTask
        class: agent:TravelAgent
        skills:
          - id: plan
            input:
              type: object
              properties:
                request: {type: integer}
                town: {type: string}
              required: []
            output: {type: string}
        """,
        agent=TRAVEL,
    )
    with pytest.raises(DeclarationError) as caught:
        load(place)
    where = "(TravelAgent.plan, agent.py:7)"
    file = place / "agent.yaml"
    for line, field, text in (
        (9, "skills[0].input.properties.request.type", "the types say string, not integer"),
        (10, "skills[0].input.properties.town", "the types have no such property; they have request, days"),
        (11, "skills[0].input.required", "'request' may not be left out, by the types"),
        (12, "skills[0].output.type", "the types say object, not string"),
    ):
        assert f"{file}:{line}: {field}: {text} {where}." in str(caught.value)


def test_two_topics_or_versions_contradict(tmp_path: Path) -> None:
    agent = TRAVEL.replace("'''Plans trips.'''", "topic, version = 'TripTask', '2.0.0'", 1)
    agent = agent.replace("topic, version = 'TripTask', '2.0.0'", "topic = 'TripTask'\n        version = '2.0.0'")
    place = folder(tmp_path, "topic: OtherTask\nversion: 1.0.0\nclass: agent:TravelAgent\n", agent=agent)
    with pytest.raises(DeclarationError) as caught:
        load(place)
    assert ":1: topic: TravelAgent.topic is 'TripTask', and this is 'OtherTask'" in str(caught.value)
    assert ":2: version: TravelAgent.version is '2.0.0', and this is '1.0.0'" in str(caught.value)
    (place / "agent.yaml").write_text("class: agent:TravelAgent\n")
    declaration = load(place / "agent.yaml")
    assert (declaration.topic, declaration.version) == ("TripTask", "2.0.0")


def test_without_a_topic_it_follows_from_the_name(tmp_path: Path) -> None:
    place = folder(tmp_path, "name: Trip\nclass: agent:TravelAgent\n", agent=TRAVEL)
    assert load(place).topic == "TripTask"
    (place / "agent.yaml").write_text("class: agent:TravelAgent\n")
    assert load(place).topic == "TravelAgentTask"
    (place / "agent.yaml").write_text("class: agent:TravelAgent\nname: 旅行\n")
    with pytest.raises(DeclarationError, match=r"agent\.yaml:2: name: '旅行Task' cannot name a topic: add a `topic`"):
        load(place)


def test_two_folders_may_have_modules_of_the_same_names(tmp_path: Path) -> None:
    agent = """
        from __future__ import annotations

        from pathlib import Path

        import json, climate
        from climate import NAME
        from . import climate as relative
        from agentmesh import Agent, skill

        class TravelAgent(Agent):
            @skill
            def where(self) -> list[str]:
                from climate import NAME as again
                data = json.loads((Path(__file__).parent / "data.json").read_text())
                return [NAME, climate.NAME, relative.NAME, again, data]
        """
    for name in ("one", "two"):
        place = folder(tmp_path, "class: agent:TravelAgent", name, agent=agent, climate=f"NAME = {name!r}")
        (place / "data.json").write_text(f'"{name}"')
    one, two = load(tmp_path / "one"), load(tmp_path / "two")
    assert one.skills["where"].handler() == ["one"] * 5
    assert two.skills["where"].handler() == ["two"] * 5
    assert type(one.agent) is not type(two.agent)
    assert type(load(tmp_path / "one").agent) is type(one.agent)
    assert not list(tmp_path.rglob("__pycache__"))


def test_a_package_beside_the_yaml_may_hold_the_class(tmp_path: Path) -> None:
    place = folder(tmp_path, "class: trips.agent:TravelAgent", names="NAME = 'x'")
    (place / "trips").mkdir()
    (place / "trips" / "__init__.py").write_text("import names\nfrom .agent import TravelAgent\n")
    (place / "trips" / "agent.py").write_text(textwrap.dedent(TRAVEL) + "\nfrom names import NAME\n")
    assert load(place).topic == "TravelAgentTask"


def test_an_installed_class_is_named_by_its_module(tmp_path: Path) -> None:
    place = folder(tmp_path, "topic: AnotherTask\nclass: agentmesh.supervisor.agent:Nobody\n")
    with pytest.raises(
        DeclarationError, match=r"agent\.yaml:2: class: agentmesh\.supervisor\.agent has no class 'Nobody'"
    ):
        load(place)
    (place / "agent.yaml").write_text("class: agentmesh.supervisor.agent:Supervisor\n")
    assert load(place).topic == "SupervisorAgentTask"


@pytest.mark.parametrize(
    ("reference", "agent", "text"),
    [
        ("agent:TravelAgnt", TRAVEL, "agent has no class 'TravelAgnt'. Did you mean 'TravelAgent'?"),
        ("agent:Path", "from pathlib import Path", "agent:Path is no Agent"),
        ("agent:Agent", TRAVEL, "agent:Agent is no Agent"),
        ("agnt:TravelAgent", TRAVEL, "there is no agnt.py beside this file, and no installed module 'agnt'"),
        ("agent:TravelAgent", "import no_such_module", "importing agent raised ModuleNotFoundError: "),
        ("agent:TravelAgent", "x = 1\ny = 1 / 0", "importing agent raised ZeroDivisionError: division by zero ("),
        ("agent:TravelAgent", "raise SystemExit(3)", "importing agent raised SystemExit: 3"),
        ("agent:TravelAgent", "def f(:\n", "importing agent raised SyntaxError: "),
        ("agent:Empty", "from agentmesh import Agent\nclass Empty(Agent): ...", "Empty has no skills"),
        (
            "agent:TravelAgent",
            TRAVEL + "\n        def __init__(self, key): ...",
            "TravelAgent() raised TypeError: ",
        ),
    ],
)
def test_a_class_that_cannot_be_had_is_told_with_path_line_and_field(
    tmp_path: Path, reference: str, agent: str, text: str
) -> None:
    place = folder(tmp_path, f"name: Trip\nclass: {reference}\n", agent=agent)
    with pytest.raises(DeclarationError) as caught:
        load(place)
    assert str(caught.value).startswith(f"{place / 'agent.yaml'}:2: class: {text}"), caught.value
    assert (caught.value.path, caught.value.line) == (str(place / "agent.yaml"), 2)
    assert caught.value.field == "class"


def test_a_failing_import_names_the_line_that_failed(tmp_path: Path) -> None:
    place = folder(tmp_path, "class: agent:A", agent="import broken", broken="x = 1\nraise RuntimeError('no')")
    with pytest.raises(DeclarationError, match=r"raised RuntimeError: no \(.*broken\.py:2\)"):
        load(place)


def test_a_skill_without_its_method_is_told_with_a_suggestion(tmp_path: Path) -> None:
    place = folder(tmp_path, "class: agent:TravelAgent\nskills:\n  - id: plann\n  - id: __init__\n", agent=TRAVEL)
    with pytest.raises(DeclarationError) as caught:
        load(place)
    assert ":3: skills[0].id: TravelAgent has no method or @skill 'plann'. Did you mean 'plan'?" in str(caught.value)
    assert ":4: skills[1].id: TravelAgent has no method or @skill '__init__'. It has pack, plan." in str(caught.value)


def test_every_mistake_of_a_yaml_file_is_told_at_once(tmp_path: Path) -> None:
    place = folder(
        tmp_path,
        """\
        topik: TravelTask
        version: 1.0
        name: 3
        class: agent.TravelAgent
        model: {name: qwen-plus}
        instructions: Be nice.
        skills:
          - id: plan a trip
            confirm: yes
            input: {type: objekt}
          - description: no id
            input: {type: string}
            output: {$ref: "https://example.org/x"}
          - {id: a}
          - {id: a}
        delivery:
          timeout: 2 minutes
          lease: 0
          rate: 50 a second
          retry: {on: TimeoutError, atempts: 3}
          quota: {totl: 1, over: wait}
          aging: soon
        """,
    )
    with pytest.raises(DeclarationError) as caught:
        load(place)
    text = str(caught.value)
    for line, expected in (
        (1, "topik: there is no key 'topik' here. Did you mean 'topic'?"),
        (2, "version: a text is wanted, and this is read as 1.0: put it in quotes."),
        (3, "name: a text is wanted, and this is read as 3: put it in quotes."),
        (4, "class: 'agent.TravelAgent' cannot stand here: write module:Name, such as agent:TravelAgent."),
        (5, "model: 'model' is not supported yet."),
        (6, "instructions: 'instructions' is not supported yet."),
        (8, "skills[0].id: 'plan a trip' cannot stand here: "),
        (9, "skills[0].confirm: true or false is wanted, not 'yes'."),
        (10, "skills[0].input.type: 'objekt' is no type: "),
        (11, "skills[1].id: `id` is missing"),
        (12, "skills[1].input.type: an input is an object"),
        (13, "skills[1].output: refers to 'https://example.org/x': nothing outside"),
        (15, "skills[3].id: there are two skills 'a'; the first is in line 14."),
        (17, "delivery.timeout: '2 minutes' is no duration: write seconds, or 500ms, 30s, 10m, 2h, 1d."),
        (18, "delivery.lease: "),
        (19, "delivery.rate: '50 a second' is no rate: write how many in a second, minute or hour: 50/s, 100/m, "),
        (20, "delivery.retry.on: a list is wanted, not 'TimeoutError'."),
        (20, "delivery.retry.atempts: there is no key 'atempts' here. Did you mean 'attempts'?"),
        (21, "delivery.quota.totl: there is no key 'totl' here. Did you mean 'total'?"),
        (21, "delivery.quota.over: 'wait' cannot stand here: use queue or refuse."),
        (22, "delivery.aging: 'soon' is no duration: "),
    ):
        assert f"{place / 'agent.yaml'}:{line}: {expected}" in text


def test_the_limits_and_rules_of_a_delivery_are_read(tmp_path: Path) -> None:
    place = folder(
        tmp_path,
        """\
        class: agent:TravelAgent
        delivery:
          rate: 100/m
          aging: 5m
          quota: {per_tenant: 10, total: 100, over: refuse}
          retry:
            on: [ValueError, {error: TimeoutError, attempts: 5, backoff: 2s, max: 1m}, {error: OSError}]
        """,
        agent=TRAVEL,
    )
    assert load(place).delivery == Delivery(
        rate=Rate(100, 60),
        aging=300,
        quota=Quota(total=100, per_tenant=10, over="refuse"),
        retry=Retry(on=("ValueError", RetryOn("TimeoutError", 5, 2.0, 60.0), "OSError")),
    )


@pytest.mark.parametrize("rate", ["50", "0/s", "1.5/s", "50/d", "-1/s", "50 / s", "[50/s]", "null/s"])
def test_a_rate_that_is_none_is_refused(tmp_path: Path, rate: str) -> None:
    place = folder(tmp_path, f"class: agent:TravelAgent\ndelivery: {{rate: {rate}}}\n", agent=TRAVEL)
    with pytest.raises(DeclarationError, match=r"agent.yaml:2: delivery.rate: .* is no rate: write how many"):
        load(place)


@pytest.mark.parametrize(
    ("on", "text"),
    [
        (
            "[3]",
            "delivery.retry.on[0]: 3 names no error: write its class's name, or {error: TimeoutError, attempts: 5}.",
        ),
        ("[A, {attempts: 2}]", "delivery.retry.on[1].error: `error` is missing"),
        (
            "[{error: A, tries: 2}]",
            "delivery.retry.on[0].tries: there is no key 'tries' here. Keys are: error, attempts",
        ),
        ("[{error: A, attempts: 0}]", "delivery.retry.on[0].attempts: "),
        ("[{error: A, max: soon}]", "delivery.retry.on[0].max: 'soon' is no duration"),
    ],
)
def test_a_rule_of_retries_that_is_none_is_refused(tmp_path: Path, on: str, text: str) -> None:
    place = folder(tmp_path, f"class: agent:TravelAgent\ndelivery: {{retry: {{on: {on}}}}}\n", agent=TRAVEL)
    with pytest.raises(DeclarationError) as caught:
        load(place)
    assert f"{place / 'agent.yaml'}:2: {text}" in str(caught.value)


def test_limits_of_a_class_that_are_none_are_refused() -> None:
    class FastAgent(WeatherAgent):
        delivery = Delivery(rate=Rate(0))

    with pytest.raises(DeclarationError, match=r"delivery: Rate\(count=0.*a rate is at least one task"):
        declare(FastAgent())


def bomb() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    return "\n".join(lines + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)])


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"class: !!python/object/apply:os.system ['x']", ":1: class: Python objects are not made from YAML"),
        (b"class: !weird x", ":1: class: Tags are not supported"),
        (bomb().encode(), "More than 100,000 values, with aliases written out"),
        (b"a: &a [*a]", "stands inside of what it names"),
        (b"a: *b", ":1: a: There is no &b above"),
        (b"[" * 100_000, ":1: [0][0][0][0][0][0][0][0]: Values are nested deeper than 64 levels"),
        (b"name: a\nname: b\n", ":2: name: This key stands here twice; the first is in line 1"),
        (b"name: a\n\x00", ":2: This is a binary file"),
        (b"\x89PNG\r\n\x1a\n\xff", ":1: This is not a text file in UTF-8"),
        ("name: x".encode("utf-16"), ":1: The file is in UTF-16"),
        (b"name: \x07", ":1: Character 7 may not stand in YAML"),
        (b"x" * 1_000_001, "The file is larger than 1 MB"),
        (b"name: [a", "This is not YAML: "),
        (b"name: a: b", ":1: This is not YAML: "),
        (b"name: a\n---\nname: b\n", ":2: A second document begins here"),
        (b"? [a]\n: b\n", "A key must be a word"),
        (b"version: 123456789012345678901234567890", ":1: version: This number has more than 18 digits"),
        (b"", "a mapping is wanted, not nothing"),
        (b"- class: x", "a mapping is wanted, not a list"),
    ],
)
def test_a_file_that_is_not_plain_yaml_is_told(tmp_path: Path, raw: bytes, text: str) -> None:
    file = tmp_path / "agent.yaml"
    file.write_bytes(raw)
    with pytest.raises(DeclarationError) as caught:
        load(file)
    assert text in str(caught.value)
    assert str(caught.value).startswith(str(file))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match=r"agent\.yaml: The file cannot be read: No such file"):
        load(tmp_path)


def test_words_are_text_and_aliases_and_byte_order_marks_are_read(tmp_path: Path) -> None:
    place = folder(tmp_path, "", agent=TRAVEL)
    (place / "agent.yaml").write_text(
        "\ufeffclass: agent:TravelAgent\n"
        "version: 1.0.0\n"
        "skills:\n"
        "  - {id: plan, tags: &tags [no, on, 12:30, 2026-01-01, 'null'], examples: *tags}\n"
        "delivery: {retry: {on: [OSError]}}\n",
        encoding="utf-8",
    )
    declaration = load(place)
    assert declaration.skills["plan"].tags == ("no", "on", "12:30", "2026-01-01", "null")
    assert declaration.skills["plan"].examples == declaration.skills["plan"].tags
    assert declaration.delivery.retry.on == ("OSError",)


def test_a_handler_that_never_returns_is_a_skill_too() -> None:
    class Refuser(Agent):
        @skill
        def refuse(self) -> NoReturn:
            raise ValueError

    assert declare(Refuser()).skills["refuse"].output_schema is None
