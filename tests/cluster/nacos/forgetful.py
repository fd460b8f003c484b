"""A Nacos that answers `true` and stores nothing, as r-nacos does when its storage did not start; with the messages of
the protocol and nothing else."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio

from agentmesh.registry.nacos.address import GRPC

_ANSWERS: dict[str, dict[str, Any]] = {
    "ServerCheckRequest": {"connectionId": "1"},
    "ConfigQueryRequest": {"resultCode": 500, "errorCode": 300, "message": "config data not exist"},
    "SubscribeServiceRequest": {"serviceInfo": {"name": "x", "groupName": "y", "hosts": []}},
}


def _payload(kind: str, answer: dict[str, Any]) -> Any:
    from google.protobuf.any_pb2 import Any as Body
    from v2.nacos.transport.grpcauto.nacos_grpc_service_pb2 import Metadata, Payload

    told = {"resultCode": 200, "errorCode": 0, "message": "", "requestId": "", **answer}
    return Payload(metadata=Metadata(type=kind), body=Body(value=json.dumps(told).encode()))


async def _answer(request: Any, context: object) -> Any:
    asked = request.metadata.type
    kind = asked.replace("Request", "Response").replace("ConfigBatchListen", "ConfigChangeBatchListen")
    return _payload(kind, _ANSWERS.get(asked, {}))


async def _stay(requests: AsyncIterator[Any], context: object) -> AsyncIterator[Any]:
    async for _ in requests:
        pass
    await asyncio.Event().wait()
    yield


@asynccontextmanager
async def forgetful() -> AsyncIterator[str]:
    """Its URL."""
    from v2.nacos.transport.grpcauto.nacos_grpc_service_pb2 import Payload

    ways = {"request_deserializer": Payload.FromString, "response_serializer": Payload.SerializeToString}
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler(
                "Request", {"request": grpc.unary_unary_rpc_method_handler(_answer, **ways)}
            ),
            grpc.method_handlers_generic_handler(
                "BiRequestStream", {"requestBiStream": grpc.stream_stream_rpc_method_handler(_stay, **ways)}
            ),
        ]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"nacos://127.0.0.1:{port - GRPC}"
    await server.stop(0)
