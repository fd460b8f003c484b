"""The generated protobuf modules of rocketmq-python-client, without the rest of that package.

Its `__init__` imports the whole client, which starts threads and opens a log folder under the home directory. So the
package is stood in for by an empty one while its stubs are imported, and taken away again: who imports `rocketmq`
afterwards gets the real one, with the same stubs.
"""

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any, Final

from agentmesh.errors import ConfigError

_PACKAGE: Final = "rocketmq"
_STUBS: Final = "rocketmq.grpc_protocol"


def _load() -> tuple[Any, Any]:
    spec = importlib.util.find_spec(_PACKAGE) if _PACKAGE not in sys.modules else None
    if _PACKAGE in sys.modules or spec is None:
        return _modules()
    stand_in = ModuleType(_PACKAGE)
    stand_in.__path__ = list(spec.submodule_search_locations or ())
    sys.modules[_PACKAGE] = stand_in
    try:
        return _modules()
    finally:
        del sys.modules[_PACKAGE]


def _modules() -> tuple[Any, Any]:
    try:
        return importlib.import_module(f"{_STUBS}.definition_pb2"), importlib.import_module(f"{_STUBS}.service_pb2")
    except ImportError as error:
        raise ConfigError(
            f"The RocketMQ backend needs a package that is not there ({error}): pip install 'agentmesh[rocketmq]'."
        ) from error


definition, service = _load()
