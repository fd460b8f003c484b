"""nacos-sdk-python as it comes: `python unrepaired.py WHAT HOST:PORT …` shows what its services do."""

import asyncio
import os
import sys

from v2.nacos import (
    ClientConfigBuilder,
    ConfigParam,
    DeregisterInstanceParam,
    NacosConfigService,
    NacosNamingService,
    RegisterInstanceParam,
    SubscribeServiceParam,
)


async def secrets(address: str, user: str, password: str, card: str) -> None:
    """Write a document; print the token."""
    config = ClientConfigBuilder().server_address(address).username(user).password(password).build()
    service = await NacosConfigService.create_config_service(config)
    await service.publish_config(ConfigParam(data_id="card", group="test", content=card))
    print(service.grpc_client_proxy.nacos_server_connector.auth_client.access_token, flush=True)
    os._exit(0)


async def last(address: str) -> None:
    """Watch a service while its only instance comes and goes; print how many there were each time it was told."""
    builder = ClientConfigBuilder().server_address(address).namespace_id("public").load_cache_at_start(False)
    watcher = await NacosNamingService.create_naming_service(builder.build())
    one = await NacosNamingService.create_naming_service(builder.build())
    seen = []

    async def told(hosts: list) -> None:  # type: ignore[type-arg]
        seen.append(len(hosts))

    await one.register_instance(RegisterInstanceParam(service_name="s", group_name="g", ip="127.0.0.1", port=1))
    await watcher.subscribe(SubscribeServiceParam(service_name="s", group_name="g", subscribe_callback=told))
    await asyncio.sleep(1)
    await one.deregister_instance(DeregisterInstanceParam(service_name="s", group_name="g", ip="127.0.0.1", port=1))
    await asyncio.sleep(3)
    print(seen, flush=True)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run({"secrets": secrets, "last": last}[sys.argv[1]](*sys.argv[2:]))
