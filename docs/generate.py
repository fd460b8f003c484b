"""Write what the docs and schemas take from the code: `python docs/generate.py`, or with `--check` say what is stale.

configuration.md  the table of settings
cli.md            the help, arguments and options of every command
reference.md      the public names and the contracts: signatures, fields, docstrings
promises.md       under each promise, the tests whose marker names it (the rest of the page is written by hand)
schemas/*.json    the JSON Schemas of agent.yaml and agentmesh.yaml
"""

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent
NOTE: Final = "<!-- made by docs/generate.py: change the code, then `make docs` -->\n\n"
WIDTH: Final = 100


# ---- configuration.md


def configuration() -> str:
    """The table of settings."""
    from agentmesh.config import SETTINGS

    rows = []
    for each in SETTINGS:
        name = f"`{each.name}`" + (" (not in a file)" if each.kind == "secret" else "")
        rows.append([name, f"`{each.env}`", f"`{each.default}`" if each.default else "", each.help])
    return f"""{NOTE}# Configuration

A setting is an argument of `Mesh`, else an environment variable, else a line of `agentmesh.yaml` in the current folder,
else its default. An empty variable counts as not set. What is misspelt, in the file or among the variables, is an error
with a suggestion; `agentmesh doctor` says where each setting comes from.

{_table(["argument and key", "variable", "default", "what it is"], rows)}
```yaml title=agentmesh.yaml
# yaml-language-server: $schema=schemas/config.schema.json
broker: local:///var/lib/mesh
model: qwen-plus
base_url: https://llm.example.com/v1
```

Relative folders, and cards that are files, are meant from where the file is. Keys, users and passwords do not belong in
it: set their variables. [Registries](registries.md) tells how agents are found by `registry` and `cards`:

```yaml title=agentmesh.yaml
broker: rocketmq://mq.example.com:8081
registry: [nacos://nacos.example.com:8848, direct, https://agents.example.com]
cards:
  - cards/translator.json
  - https://partner.example.com/.well-known/agent-card.json
```
"""


def _table(head: list[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


# ---- cli.md


def command_line() -> str:
    """The help of every command, from the commands themselves: nothing in it is wrapped to a terminal."""
    from typer.main import get_command

    from agentmesh.cli.exits import MEANINGS
    from agentmesh.cli.main import app

    root: Any = get_command(app)
    commands = list(_commands(root, "agentmesh"))
    panels: dict[str, list[list[str]]] = {}
    for panel, path, command in commands:
        first = _plain(command.help or "").split("\n")[0]
        panels.setdefault(panel, []).append([f"[`{path}`](#{path.replace(' ', '-')})", first])
    text = f"{_plain(root.help)} `-h` after any command tells what this page tells of it."
    parts = [f"# Command line\n\n{textwrap.fill(text, 120)}\n"]
    parts += [f"**{panel}**\n\n{_table(['command', ''], rows)}" for panel, rows in panels.items()]
    parts += [_command(path, command) for _, path, command in commands]
    codes = [[str(int(code)), meaning] for code, meaning in MEANINGS.items()]
    parts.append(f"## Exit codes\n\n{_table(['code', 'meaning'], codes)}")
    parts.append("## Completion\n\n`agentmesh --install-completion` installs it for the current shell.\n")
    return NOTE + "\n".join(parts)


def _commands(group: Any, path: str, panel: str = "") -> Iterator[tuple[str, str, Any]]:
    """Every command that is shown, with its panel and the words it is called by."""
    for name, command in group.commands.items():
        place = panel or command.rich_help_panel or "Commands"
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}", place)
        elif not command.hidden:
            yield place, f"{path} {name}", command


def _command(path: str, command: Any) -> str:
    takes = [_argument_of(each) for each in command.params if each.param_type_name == "argument"]
    parts = [f"## {path}\n\n{_plain(command.help or '')}\n", f"```text\n{' '.join([path, *takes, '[OPTIONS]'])}\n```\n"]
    parameters = [_parameter(each) for each in command.params if not each.hidden and each.name != "help"]
    if parameters:
        parts.append("".join(parameters))
    return "\n".join([*parts, *_epilog(command.epilog or "")])


def _parameter(parameter: Any) -> str:
    default = parameter.default
    if parameter.param_type_name == "argument":
        name = _argument_of(parameter)
    else:
        is_switch = parameter.is_flag or parameter.count
        takes = "" if is_switch else f" {parameter.metavar or _takes(parameter)}"
        name = ", ".join([*parameter.opts, *parameter.secondary_opts]) + takes
    told = parameter.show_default and not callable(default) and default not in (None, False, "", ())
    return f"- `{name}`: {_plain(parameter.help or '')}{f' Default: {default}.' if told else ''}\n"


def _argument_of(parameter: Any) -> str:
    """`TOPIC`, `[JSON]` where it may be left out, `TEXT...` where there may be several."""
    name = re.sub(r"[\[\].]", "", parameter.metavar or parameter.name.upper())
    return (name if parameter.required else f"[{name}]") + ("..." if parameter.nargs == -1 else "")


def _takes(parameter: Any) -> str:
    """What an option without a metavar takes."""
    kind = getattr(getattr(parameter, "type_descriptor", None), "annotation", str)
    return {int: "N", float: "NUMBER", Path: "PATH"}.get(kind, "TEXT")


def _epilog(epilog: str) -> Iterator[str]:
    """An epilog's examples as a block, and the rest of it as text."""
    examples, _, text = _plain(epilog).removeprefix("Examples\n").partition("\n\n")
    if examples:
        yield "```console\n" + "".join(f"$ {line.strip()}\n" for line in examples.splitlines()) + "```\n"
    if text:
        yield f"{text.strip()}\n"


def _plain(text: str) -> str:
    """Without rich's markup."""
    return re.sub(r"\[/?(bold|dim)\]", "", text).replace("\\[", "[").strip()


# ---- reference.md


class Section(NamedTuple):
    """Names of the reference, in order, from the module that they are imported from."""

    title: str
    text: str
    module: str
    names: tuple[str, ...]


def reference() -> str:
    """The public names, the errors and the contracts."""
    import agentmesh
    from agentmesh import contracts, errors

    public = ("Mesh", "Call", "Agent", "skill", "Context", "LiteTopic", "Event", "Entry", "Hit")
    assert {*public} == {name for name in agentmesh.__all__ if not hasattr(errors, name)}
    own = contracts.__all__
    sections = [
        Section("agentmesh", "What programs import.", "agentmesh", public),
        Section(
            "Supervisors",
            "`mesh.run` serves a `Supervisor` where none is alive. A subclass with a topic of its own is served and "
            "called like any agent: `mesh.run(goal, supervisor=…)`.",
            "agentmesh.supervisor.agent",
            ("Supervisor", "Budget"),
        ),
        Section(
            "agentmesh.testing",
            'For tests. `pytest_plugins = ["agentmesh.testing.fixtures"]` in the topmost conftest.py brings the '
            "fixtures `mesh` and `clock`.",
            "agentmesh.testing",
            (
                "open_mesh",
                "ManualClock",
                "ModelServer",
                "Calls",
                "Text",
                "Raw",
                "HalfStream",
                "Hang",
                "Close",
                "Request",
            ),
        ),
        Section("Contracts", _doc(contracts), "agentmesh.contracts", tuple(own)),
    ]
    titles = [*(each.title for each in sections), "Errors"]
    contents = " · ".join(f"[{each}](#{re.sub('[^a-z]', '', each.lower())})" for each in titles)
    parts = [f"# Reference\n\n{contents}\n"]
    parts += [_section(each) for each in sections]
    parts.append(_errors(errors, [name for name in vars(errors) if name in agentmesh.__all__]))
    return NOTE + "\n".join(parts)


def _section(section: Section) -> str:
    text = section.text if "\n" in section.text else textwrap.fill(section.text, 120)
    parts = [f"## {section.title}\n\n{text}\n"]
    for name in section.names:
        value = getattr(import_module(section.module), name)
        parts.append(_class(name, value) if inspect.isclass(value) else _function(f"### {name}", value))
    return "\n".join(parts)


def _class(name: str, kind: type) -> str:
    """A class: how it is made or what fields it has, its docstring, its public methods."""
    tree = _tree(kind)
    parts = [f"### {name}\n"]
    fields = [each for each in tree.body if isinstance(each, ast.AnnAssign) and not _is_private(each.target)]
    made = next((each for each in tree.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"), None)
    if fields:
        lines = [f"    {ast.unparse(each.target)}: {_annotation(each.annotation)}" for each in fields]
        lines = [f"{line}{_default(each.value, kind)}" for line, each in zip(lines, fields, strict=True)]
        parts.append("```python\n" + "\n".join([f"class {name}{_bases(tree)}:", *lines]) + "\n```\n")
    elif made and not _takes_internals(made):
        parts.append(f"```python\n{_signature(made, kind, name, is_method=True)}\n```\n")
    parts.append(f"{_doc(kind)}\n")
    properties = []
    methods = []
    for each in tree.body:
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and not each.name.startswith("_"):
            if any(ast.unparse(one) == "property" for one in each.decorator_list):
                text = " ".join((ast.get_docstring(each) or "").split())
                kind_of_it = _annotation(each.returns) if each.returns else ""
                properties.append([f"`{each.name}`", f"`{kind_of_it}`", text])
            else:
                methods.append(_method(name, each, kind))
    if properties:
        parts.append(_table(["property", "type", ""], properties))
    return "\n".join([*parts, *methods])


def _method(owner: str, node: ast.FunctionDef | ast.AsyncFunctionDef, kind: type) -> str:
    text = ast.get_docstring(node) or ""
    block = f"```python\n{_signature(node, kind, node.name, is_method=True)}\n```\n"
    return "\n".join(part for part in (f"#### {owner}.{node.name}\n", block, f"{text}\n" if text else "") if part)


def _function(heading: str, function: Callable[..., Any]) -> str:
    node = _tree(inspect.unwrap(function))
    decorators = "".join(f"@{ast.unparse(each)}\n" for each in node.decorator_list)
    block = f"```python\n{decorators}{_signature(node, function, node.name)}\n```\n"
    return f"{heading}\n\n{block}\n{_doc(function)}\n"


def _tree(value: Any) -> Any:
    """The node of a class or a function; of an overloaded one, that with the body."""
    return ast.parse(textwrap.dedent(inspect.getsource(value))).body[0]


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef, home: Any, name: str, *, is_method: bool = False) -> str:
    """`async def start(…) -> Call`, one parameter a line where it would be longer than `WIDTH`."""
    word = "" if node.name == "__init__" else "async def " if isinstance(node, ast.AsyncFunctionDef) else "def "
    given = node.args
    plain = [*given.posonlyargs, *given.args]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(given.defaults)) + list(given.defaults)
    pairs = list(zip(plain, defaults, strict=True))[1 if is_method else 0 :]
    parameters = [_argument(each, default, home) for each, default in pairs]
    if given.posonlyargs and not is_method:
        parameters.insert(len(given.posonlyargs), "/")
    if given.vararg:
        parameters.append(f"*{_argument(given.vararg, None, home)}")
    elif given.kwonlyargs:
        parameters.append("*")
    named = zip(given.kwonlyargs, given.kw_defaults, strict=True)
    parameters += [_argument(each, default, home) for each, default in named]
    if given.kwarg:
        parameters.append(f"**{_argument(given.kwarg, None, home)}")
    returns = f" -> {_annotation(node.returns)}" if node.returns and word else ""
    line = f"{word}{name}({', '.join(parameters)}){returns}"
    if len(line) <= WIDTH:
        return line
    return f"{word}{name}(\n" + "".join(f"    {each},\n" for each in parameters) + f"){returns}"


def _argument(node: ast.arg, default: ast.expr | None, home: Any) -> str:
    if node.annotation is None:
        return node.arg + _default(default, home).replace(" ", "")
    return f"{node.arg}: {_annotation(node.annotation)}{_default(default, home)}"


def _annotation(node: ast.expr) -> str:
    """A type as its source has it, without the quotes around names that are not imported at run time."""
    text = ast.unparse(node)
    return text.replace("'", '"' if "Literal" in text else "")


def _default(node: ast.expr | None, home: Any) -> str:
    """` = 4`: constants of a module by their value."""
    if node is None:
        return ""
    names = vars(sys.modules[home.__module__])
    text = repr(names[node.id]) if isinstance(node, ast.Name) and node.id in names else ast.unparse(node)
    return f" = {text}".replace("'", '"')


def _bases(tree: ast.ClassDef) -> str:
    kept = [name for each in tree.bases if (name := ast.unparse(each)) not in ("Protocol", "msgspec.Struct")]
    return f"({', '.join(kept)})" if kept else ""


def _takes_internals(made: ast.FunctionDef) -> bool:
    """Whether only the mesh makes such objects: their first argument is a part of it."""
    return len(made.args.args) > 1 and ast.unparse(made.args.args[1]) in ("client: 'Client'", "attempt: 'Attempt'")


def _is_private(target: ast.expr) -> bool:
    return ast.unparse(target).startswith("_")


def _doc(value: Any) -> str:
    return inspect.getdoc(value) or ""


def _errors(errors: Any, names: list[str]) -> str:
    """The tree of errors, and what each means and carries."""
    tree = textwrap.dedent(_doc(errors).split("\n\n")[1])
    rows = []
    for name in names:
        made = [each for each in _tree(getattr(errors, name)).body if isinstance(each, ast.FunctionDef)]
        found = re.findall(r"self\.(\w+) = ", "\n".join(map(ast.unparse, made)))
        attributes = ", ".join(f"`{each}`" for each in dict.fromkeys(found))
        rows.append([f"`{name}`", " ".join(_doc(getattr(errors, name)).split()), attributes])
    return f"## Errors\n\n```text\n{tree}\n```\n\n{_table(['error', 'meaning', 'attributes'], rows)}"


# ---- promises.md

_BEGIN: Final = "<!-- the tests: made by docs/generate.py -->\n"
_END: Final = "<!-- end of the tests -->\n"


def promises() -> str:
    """The page as it is, with the tests that hold each promise put in anew."""
    page = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
    before, _, rest = page.partition(_BEGIN)
    _, mark, after = rest.partition(_END)
    assert mark, f"docs/promises.md has lost its line {_END}"
    held: dict[int, dict[str, list[str]]] = {}
    for number, file, name in marked_tests():
        held.setdefault(number, {}).setdefault(file, []).append(sentence(name))
    parts = []
    for number, text in re.findall(r"^\| (\d+) \| ([^|]*) \|", page, re.MULTILINE):
        parts.append(f"\n**{number}. {text}**\n\n")
        for file, names in sorted(held.get(int(number), {}).items()):
            parts.append(f"- [{file}](../{file})\n" + "".join(f"  - {each}\n" for each in names))
    return before + _BEGIN + "".join(parts) + "\n" + _END + after


def marked_tests() -> Iterator[tuple[int, str, str]]:
    """Each test that carries `pytest.mark.promise(number)`: the number, its file and its name, in the files' order."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name, marks = _marks(node)
            found = re.findall(r"mark\.promise\((\d+)\)", marks)
            yield from ((int(number), path.relative_to(ROOT).as_posix(), name) for number in found)


def _marks(node: ast.AST) -> tuple[str, str]:
    """A test's name and its marks: of a function or class, or of a state machine by `TestQueue.pytestmark = […]`."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return node.name, " ".join(map(ast.unparse, node.decorator_list))
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).endswith("pytestmark"):
        owner = ast.unparse(node.targets[0]).rpartition(".")[0]
        return owner or "all of them", ast.unparse(node.value)
    return "", ""


def sentence(name: str) -> str:
    """A test's name as the page has it."""
    return name.removeprefix("test_").replace("_", " ")


# ---- all of them


def files() -> dict[Path, str]:
    """Every file that is made, with what it should hold."""
    from agentmesh.runtime.schemas import FILES, text_of

    docs = ROOT / "docs"
    made = {
        docs / "configuration.md": configuration(),
        docs / "cli.md": command_line(),
        docs / "reference.md": reference(),
        docs / "promises.md": promises(),
    }
    return made | {ROOT / "schemas" / name: text_of(schema()) for name, schema in FILES.items()}


def main() -> int:
    """Write what is stale, or with `--check` only name it and fail."""
    check = "--check" in sys.argv[1:]
    stale = []
    for path, text in files().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(path.relative_to(ROOT).as_posix())
            if not check:
                path.write_text(text, encoding="utf-8")
    if stale:
        sys.stdout.write(f"stale, `make docs` writes them: {', '.join(stale)}\n" if check else f"{', '.join(stale)}\n")
    return 1 if stale and check else 0


if __name__ == "__main__":
    sys.exit(main())
