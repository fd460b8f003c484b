"""Chatting: one goal after the other in a session."""

from cli.commands import Project

from agentmesh.testing import ModelServer, Request


def test_every_line_is_a_goal_and_a_failure_is_no_end(shared: Project) -> None:
    done = shared.run("chat", stdin="count the beans\n\nwrite a poem\n/exit\nnever asked\n")
    assert done.code == 0
    assert "There are" in done.out
    assert "No agent was found that fits this goal" in done.out
    assert "never asked" not in done.out
    assert done.err.count("You > ") >= 3


def test_a_session_goes_on_in_another_process(project: Project) -> None:
    def second(request: Request) -> str:
        said = [(message["role"], message["content"]) for message in request.messages[1:]]
        assert said == [("user", "我叫小明"), ("assistant", "你好"), ("user", "我叫什么")]
        return "小明"

    with ModelServer(["你好", second]) as server:
        settings = {"AGENTMESH_MODEL": "m", "OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "k"}
        first = project.run("chat", "--session", "s", stdin="我叫小明\n", **settings)
        assert "你好" in first.out
        again = project.run("chat", "--session", "s", stdin="我叫什么\n", **settings)
        assert "小明" in again.out


def test_ctrl_c_cancels_the_run_and_then_leaves(project: Project) -> None:
    with project.terminal("chat") as terminal:
        for _ in range(2):
            terminal.expect("You > ")
            terminal.raw = ""
            terminal.type("paint the wall\n")
            terminal.expect("? Which colour?")
            terminal.type("\x03")
            terminal.expect("cancelled run-")
        terminal.expect("You > ")
        terminal.type("\x03")
        assert terminal.end() == 130
