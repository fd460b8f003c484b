"""Whether anybody listens where a Nacos is said to be."""

import asyncio

from agentmesh.registry.nacos.address import Address
from agentmesh.registry.nacos.refusals import unreachable


async def check_listening(address: Address, timeout: float) -> None:
    """Returns if one of the servers takes connections. Raises `RegistryUnavailable` with what each of them did, after
    `timeout` seconds per server at most.
    """
    errors: list[str] = []
    for host, port in address.grpc:
        try:
            async with asyncio.timeout(timeout):
                _, writer = await asyncio.open_connection(host, port)
            writer.close()
            return
        except (OSError, TimeoutError) as error:
            errors.append(f"{host}:{port}: {str(error) or type(error).__name__}")
    raise unreachable(address, "; ".join(errors))
