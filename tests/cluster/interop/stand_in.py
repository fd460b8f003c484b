"""`python stand_in.py BROKER REGISTRY CARD`: a process that serves an agent which stands for a remote one."""

import asyncio
import json
import sys

from agentmesh import Mesh
from agentmesh.a2a.rocketmq import RocketMQA2AAgent
from agentmesh.contracts import Delivery


async def main() -> None:
    broker, registry, card = sys.argv[1:4]
    async with Mesh(broker, registry) as mesh:
        agent = RocketMQA2AAgent(json.loads(card), broker_url=broker)
        agent.delivery = Delivery(lease=10, timeout=0)
        await mesh.serve(agent)
        print("ready", flush=True)
        await asyncio.Event().wait()


asyncio.run(main())
