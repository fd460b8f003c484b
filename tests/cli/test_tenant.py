"""tenant: what holds for tenants, set, listed and shown."""

import json

import pytest
from cli.commands import Done, Project


def test_what_is_set_is_listed_and_what_is_not_named_stays(empty: Project) -> None:
    assert empty.run("tenant", "list").err == "no tenant was set (agentmesh tenant set NAME --weight 3)\n"
    empty.run("tenant", "set", "杭州", "--weight", "3", "--ceiling", "7", "--rate", "100/m")
    changed = empty.run("tenant", "set", "杭州", "--running", "4", "--waiting", "9", "--json")
    expected = {"name": "杭州", "weight": 3, "ceiling": 7, "running": 4, "waiting": 9, "rate": "100/m"}
    assert json.loads(changed.out) == expected
    assert json.loads(empty.run("tenant", "list", "--json").out) == [expected]
    lifted = empty.run("tenant", "set", "杭州", "--ceiling", "none", "--running", "0", "--rate", "none")
    assert lifted.out.split() == [
        *("NAME", "WEIGHT", "CEILING", "RUNNING", "WAITING", "RATE"),
        *("杭州", "3", "5", "-", "9", "-"),
    ]
    assert json.loads(empty.run("tenant", "show", "acme", "--json").out) == {
        "name": "acme",
        "weight": 1,
        "ceiling": 5,
        "running": 0,
        "waiting": 0,
        "rate": None,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["set", "acme"], "say what to set: --weight"),
        (["set", "acme", "--weight", "0"], "--weight"),
        (["set", "acme", "--ceiling", "12"], "'12' is no priority: use 0 to 9, or none"),
        (["set", "acme", "--rate", "50"], "'50' is no rate: write how many in a second, minute or hour: 50/s"),
        (["set", "acme", "--running", "-1"], "--running"),
        (["set", "", "--weight", "1"], "a tenant has a name"),
    ],
)
def test_what_cannot_be_is_refused(shared: Project, arguments: list[str], message: str) -> None:
    done = shared.run("tenant", *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_a_mesh_of_a_tenant_sets_nothing_and_sees_its_own(empty: Project) -> None:
    for name in ("acme", "zoo"):
        empty.run("tenant", "set", name, "--weight", "2")

    def run(*arguments: str) -> Done:
        return empty.run("tenant", *arguments, AGENTMESH_TENANT="acme")

    assert [each["name"] for each in json.loads(run("list", "--json").out)] == ["acme"]
    assert run("show", "acme").code == 0
    for refused in (run("set", "acme", "--weight", "9"), run("show", "zoo")):
        assert refused.code == 2
        assert "opened for tenant 'acme'" in refused.err
