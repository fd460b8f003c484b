"""`agentmesh export` and `agentmesh import`, as a person or a script runs them."""

import json
import subprocess
import sys
from pathlib import Path

from cli.commands import Project, environment

MESH = ("--mesh", "local://一")


def filled(project: Project) -> str:
    """A mesh with a call that has ended; its id."""
    done = project.run("call", "KitAgentTask", '{"text": "你好"}', "--skill", "echo", "--json", *MESH)
    assert done.code == 0, done.err
    return str(json.loads(done.out.splitlines()[0])["id"])


def test_a_mesh_goes_into_a_file_and_into_another_mesh(project: Project) -> None:
    call = filled(project)
    done = project.run("export", "mesh.export", *MESH)
    assert done.code == 0, done.err
    assert "logs" in done.out
    assert (project.folder / "mesh.export").stat().st_mode & 0o777 == 0o600
    done = project.run("import", "mesh.export", "--mesh", "local://二", "--json")
    told = json.loads(done.out)
    assert (done.code, told["problems"], told["resumed"]) == (0, [], False)
    assert told["logs"] >= 1
    done = project.run("attach", call, "--mesh", "local://二", "--no-serve", "--json")
    assert "你好" in done.out
    again = json.loads(project.run("import", "mesh.export", "--mesh", "local://二", "--json").out)
    assert again["resumed"] is True


def test_a_mesh_goes_through_a_pipe(project: Project) -> None:
    filled(project)
    command = [sys.executable, "-m", "agentmesh"]
    pipes = {"cwd": project.folder, "env": environment(), "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    out = subprocess.Popen([*command, "export", "-", "--json", *MESH], **pipes)  # type: ignore[call-overload]
    into = subprocess.Popen([*command, "import", "-", "--mesh", "local://二", "--json"], stdin=out.stdout, **pipes)  # type: ignore[call-overload]
    out.stdout.close()
    told, wrong = into.communicate(timeout=60)
    assert into.returncode == 0, wrong
    assert json.loads(told)["logs"] == json.loads(out.stderr.read())["logs"] >= 1
    out.stderr.close()
    assert out.wait(20) == 0


def test_what_is_wrong_with_a_file_is_said_before_anything_is_done(project: Project) -> None:
    filled(project)
    assert project.run("export", "mesh.export", *MESH).code == 0
    path = Path(project.folder / "mesh.export")
    path.write_bytes(path.read_bytes()[:-1])
    done = project.run("import", "mesh.export", "--mesh", "local://二")
    assert (done.code, done.out) == (2, "")
    assert "mesh.export is cut short after byte" in done.err
    assert not (project.folder / "二").exists()
    done = project.run("import", "nowhere.export", "--json")
    assert done.code == 2
    assert "nowhere.export cannot be read: No such file" in json.loads(done.err)["message"]
    assert "--overwrite" in project.run("export", "mesh.export", *MESH).err
    assert project.run("export", "mesh.export", "--overwrite", *MESH).code == 0


def test_a_mesh_opened_for_a_tenant_cannot_be_moved(project: Project) -> None:
    done = project.run("export", "mesh.export", *MESH, AGENTMESH_TENANT="acme")
    assert done.code == 2
    assert "operator" in done.err
    assert not (project.folder / "mesh.export").exists()


def test_on_a_terminal_an_export_is_refused_and_what_goes_on_is_shown(project: Project) -> None:
    filled(project)
    with project.terminal("export", "-", *MESH) as terminal:
        assert "no text for a terminal" in terminal.expect("name a file")
        assert terminal.end() == 2
    with project.terminal("export", "mesh.export", *MESH) as terminal:
        terminal.expect("logs")
        assert terminal.end() == 0
    with project.terminal("import", "mesh.export", "--mesh", "local://二") as terminal:
        terminal.expect("logs")
        assert terminal.end() == 0


def test_the_registry_of_a_command_is_named_beside_its_mesh(project: Project) -> None:
    (project.folder / "card.json").write_text(
        '{"name": "译者", "version": "1", "supportedInterfaces": [], "skills": []}'
    )
    (project.folder / "agentmesh.yaml").write_text("cards: [card.json]\ncache: kept\n")
    done = project.run("agents", "--registry", "direct", "--registry", "mesh", *MESH, "--json")
    assert (done.code, "译者" in done.out) == (0, True), done.err
    done = project.run("agents", "--registry", "mesh", *MESH, "--json")
    assert "译者" not in done.out
    done = project.run("agents", "--mesh", "rocketmq://127.0.0.1:1")
    assert done.code == 2
    assert "--registry nacos://HOST:PORT" in done.err
