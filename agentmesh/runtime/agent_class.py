"""The Python class that an agent.yaml names, imported.

A module beside the YAML is loaded in a package of its own that stands for the folder, so that two folders may both have
an `agent.py`. A module imports its siblings as `from . import climate`, or plainly as `import climate`, as a script
would: the folder's own files come first, under the package's name. (Of `import a.b` only the relative form works.)
"""

import ast
import importlib
import re
import sys
import traceback
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import module_from_spec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Final

from agentmesh.document import did_you_mean
from agentmesh.errors import DeclarationError
from agentmesh.ids import digest
from agentmesh.runtime.agent import Agent

_PACKAGES: Final = "agentmesh_agents"


def module_file(folder: Path, module: str) -> Path | None:
    """The file of a module beside an agent.yaml, None if there is none: then it is an installed one."""
    place = folder.joinpath(*module.split("."))
    found = (file for file in (place.with_name(f"{place.name}.py"), place / "__init__.py") if file.is_file())
    try:
        return next(found, None)
    except OSError:  # no file has such a name
        return None


def no_module(name: str) -> str:
    """The words for a module that is not there."""
    return f"there is no {name.replace('.', '/')}.py beside this file, and no installed module {name!r}."


def no_class(module: str, name: str, known: Iterable[str]) -> str:
    """The words for a class that is not in its module."""
    known = sorted(known)
    hint = did_you_mean(name, known) or (f" It has {', '.join(known)}." if known else "")
    return f"{module} has no class {name!r}.{hint}"


def load_class(folder: Path, reference: str) -> type[Agent]:
    """The class `module:Name`, from beside the YAML in `folder` or else installed.

    Raises `DeclarationError` without a place: whose field it is, the caller knows.
    """
    module_name, _, name = reference.partition(":")
    module = _import(folder, module_name)
    found = getattr(module, name, None)
    if isinstance(found, type) and issubclass(found, Agent) and found is not Agent:
        return found
    if found is not None:
        raise DeclarationError(f"{reference} is no Agent: derive it from agentmesh.Agent.")
    classes = {each: value for each, value in vars(module).items() if isinstance(value, type)}
    agents = [each for each, value in classes.items() if issubclass(value, Agent) and value is not Agent]
    raise DeclarationError(no_class(module_name, name, agents))


def _import(folder: Path, name: str) -> ModuleType:
    full = f"{_package(folder)}.{name}" if module_file(folder, name) else name
    importlib.invalidate_caches()  # the file may be newer than what Python remembers of the folder
    try:
        return importlib.import_module(full)
    except ModuleNotFoundError as error:
        if error.name and f"{full}.".startswith(f"{error.name}."):
            raise DeclarationError(no_module(name)) from error
        raise DeclarationError(_failed(name, error)) from error
    except (Exception, SystemExit) as error:
        raise DeclarationError(_failed(name, error)) from error


def _failed(name: str, error: BaseException) -> str:
    """What went wrong in an import, with the last line of the user's that had a part in it."""
    if isinstance(error, SyntaxError):
        place = f"{error.filename}:{error.lineno}"
    else:
        frames = [each for each in traceback.extract_tb(error.__traceback__) if "importlib" not in each.filename]
        place = f"{frames[-1].filename}:{frames[-1].lineno}" if len(frames) > 1 else ""
    text = str(error) if not isinstance(error, SyntaxError) else error.msg
    return f"importing {name} raised {type(error).__name__}: {text}" + (f" ({place})." if place else ".")


def _package(folder: Path) -> str:
    """The name of the package that stands for `folder`, made when it is asked for first."""
    folder = folder.resolve()
    name = f"{_PACKAGES}.{re.sub(r'[^0-9A-Za-z]', '_', folder.name)}_{digest(str(folder))[:8]}"
    if name not in sys.modules:
        if _PACKAGES not in sys.modules:
            sys.modules[_PACKAGES] = module_from_spec(ModuleSpec(_PACKAGES, None, is_package=True))
            sys.meta_path.insert(0, _Finder())
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        sys.modules[name] = module_from_spec(spec)
    return name


class _Finder:
    """Finds the modules of agents' folders as Python does, and loads them with `_Loader`."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if not name.startswith(f"{_PACKAGES}.") or path is None:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    """Compiles a module with its plain imports of siblings made relative.

    The result is not cached beside the source, where Python would take it for the module as it stands.
    """

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        tree = ast.parse(self.get_data(path), path)
        names = fullname.split(".")
        folder = Path(sys.modules[".".join(names[:2])].__path__[0])
        depth = len(names) - 2 + self.is_package(fullname)
        tree = ast.fix_missing_locations(_Siblings(folder, depth).visit(tree))
        return compile(tree, path, "exec", dont_inherit=True)


class _Siblings(ast.NodeTransformer):
    """`import climate` and `from climate import x` as relative imports, where climate is a file of the folder."""

    def __init__(self, folder: Path, depth: int) -> None:
        self._folder = folder
        self._depth = depth

    def visit_Import(self, node: ast.Import) -> Any:
        """Each name gets a statement of its own, in order."""
        return [ast.copy_location(self._imported(each), node) for each in node.names]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> Any:
        if node.level == 0 and node.module and self._is_sibling(node.module):
            node.level = self._depth
        return node

    def _imported(self, name: ast.alias) -> ast.stmt:
        if "." in name.name or not self._is_sibling(name.name):
            return ast.Import(names=[name])
        return ast.ImportFrom(module=None, names=[name], level=self._depth)

    def _is_sibling(self, module: str) -> bool:
        return module_file(self._folder, module.partition(".")[0]) is not None
