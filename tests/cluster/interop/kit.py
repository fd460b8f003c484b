"""A client and an agent of rocketmq-a2a's kind, made from the description of its wire format. They know RocketMQ's
transport, and nothing of how agentmesh writes its messages and logs.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Self

from agentmesh.broker.rocketmq.address import read_address
from agentmesh.broker.rocketmq.client import Connection, Consumer, LiteConsumer, Outgoing, Producer
from agentmesh.broker.rocketmq.remoting import Remoting

Body = dict[str, Any]


class Cluster:
    """A connection, and topics and groups that are removed at the end."""

    def __init__(self, url: str) -> None:
        self.address = read_address(url)
        self.remoting = Remoting(self.address)
        self.connection = Connection(self.address)
        self.producer = Producer(self.connection)
        self._topics: list[str] = []
        self._groups: list[str] = []

    async def __aenter__(self) -> Self:
        await self.producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.connection.close(hurry=True)
        for name in self._topics:
            await self.remoting.delete_topic(name)
        for name in self._groups:
            await self.remoting.delete_group(name)
        await self.remoting.close()

    async def topic(self, **options: Any) -> str:
        name = f"their-{uuid.uuid4().hex[:12]}"
        await self.remoting.create_topic(name, **options)
        self._topics.append(name)
        return name

    async def group(self, **options: Any) -> str:
        name = f"their-{uuid.uuid4().hex[:12]}"
        await self.remoting.create_group(name, **options)
        self._groups.append(name)
        return name


class Client:
    """Calls the agent on `topic`; replies come on one LiteTopic, and are told apart by their requestId."""

    def __init__(self, cluster: Cluster, topic: str) -> None:
        self._cluster = cluster
        self.topic = topic
        self.lite_topic = str(uuid.uuid4())
        self.reply_topic = ""
        self.follow_up = ("", "")
        self._replies: dict[str, asyncio.Queue[Body]] = {}
        self._listening: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.reply_topic = await self._cluster.topic(type="LITE", expiration_minutes=60)
        group = await self._cluster.group(lite_parent=self.reply_topic)
        consumer = LiteConsumer(self._cluster.connection, group, self.reply_topic)
        await consumer.start()
        await consumer.subscribe(self.lite_topic)
        self._listening = asyncio.create_task(self._listen(consumer))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._listening
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)

    async def _listen(self, consumer: LiteConsumer) -> None:
        while True:
            for message in await consumer.receive():
                reply = json.loads(message.body)
                self.follow_up = reply["serverWorkAgentResponseTopic"], reply["serverLiteTopic"]
                self._replies.setdefault(reply["requestId"], asyncio.Queue()).put_nowait(reply)
                await consumer.ack([message])

    def envelope(self, method: str, params: Any, request_id: str) -> Body:
        rpc = {"jsonrpc": "2.0", "id": uuid.uuid4().hex, "method": method, "params": params}
        return {
            "requestBody": json.dumps(rpc),
            "requestHeader": {},
            "destAgentTopic": self.topic,
            "workAgentResponseTopic": self.reply_topic,
            "liteTopic": self.lite_topic,
            "requestId": request_id,
        }

    async def send(self, method: str, params: Any, *, request_id: str = "", follow_up: bool = False) -> str:
        """Send a request, to the agent's topic or to where its replies say that follow-ups go; its id."""
        request_id = request_id or uuid.uuid4().hex
        body = json.dumps(self.envelope(method, params, request_id)).encode()
        topic, lite_topic = self.follow_up if follow_up else (self.topic, "")
        await self._cluster.producer.send(Outgoing(topic, body, lite_topic=lite_topic))
        return request_id

    async def reply(self, request_id: str, seconds: float = 40) -> Body:
        """The next reply to this request."""
        async with asyncio.timeout(seconds):
            return await self._replies.setdefault(request_id, asyncio.Queue()).get()

    async def ask(self, method: str, params: Any, **options: Any) -> Body:
        """The JSON-RPC answer to a request that is answered once."""
        reply = await self.reply(await self.send(method, params, **options))
        assert (reply["stream"], reply["end"]) == (False, True)
        answer: Body = json.loads(reply["responseBody"])
        return answer

    async def chunks(self, request_id: str) -> AsyncIterator[Body]:
        """The JSON-RPC answers of a stream, up to its end; they are numbered without a gap."""
        number = 0
        while True:
            reply = await self.reply(request_id, 90)
            assert reply["stream"] is True
            if reply["end"]:
                assert "responseBody" not in reply
                return
            data, ident = reply["responseBody"].removesuffix("\n\n").split("\n")
            if ident == "id: 0":
                number = 0
            assert ident == f"id: {number}"
            number += 1
            yield json.loads(data.removeprefix("data: "))


def message(text: str | None = None, data: Body | None = None, **more: Any) -> Body:
    """The params of message/send and message/stream."""
    parts: list[Body] = [] if text is None else [{"kind": "text", "text": text}]
    parts += [] if data is None else [{"kind": "data", "data": data}]
    sent = {"kind": "message", "role": "user", "messageId": uuid.uuid4().hex, "parts": parts, **more}
    return {"message": sent}


def start_process(program: Path, *arguments: str) -> "subprocess.Popen[str]":
    """A process that says when it is ready."""
    process = subprocess.Popen([sys.executable, str(program), *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def stop_process(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait()
    assert process.stdout
    process.stdout.close()


Answer = Callable[[str, Body, "Reply"], Awaitable[None]]


class Reply:
    """How an agent of theirs answers one request."""

    def __init__(self, cluster: Cluster, envelope: Body, follow_up: tuple[str, str]) -> None:
        self._cluster = cluster
        self._envelope = envelope
        self._follow_up = follow_up
        self._number = 0
        self.rpc_id = json.loads(envelope["requestBody"]).get("id")

    async def once(self, result: Any = None, error: Any = None) -> None:
        told = {"result": result} if error is None else {"error": error}
        await self.raw(json.dumps({"jsonrpc": "2.0", "id": self.rpc_id, **told}), stream=False, end=True)

    async def chunk(self, result: Any) -> None:
        body = json.dumps({"jsonrpc": "2.0", "id": self.rpc_id, "result": result})
        await self.raw(f"data: {body}\nid: {self._number}\n\n", stream=True, end=False)
        self._number += 1

    async def end(self) -> None:
        await self.raw(None, stream=True, end=True)

    async def raw(self, body: str | None, *, stream: bool, end: bool) -> None:
        reply = {
            "responseBody": body,
            "requestId": self._envelope["requestId"],
            "stream": stream,
            "end": end,
            "serverWorkAgentResponseTopic": self._follow_up[0],
            "serverLiteTopic": self._follow_up[1],
        }
        raw = json.dumps({name: value for name, value in reply.items() if value is not None}).encode()
        topic, lite_topic = self._envelope["workAgentResponseTopic"], self._envelope["liteTopic"]
        await self._cluster.producer.send(Outgoing(topic, raw, lite_topic=lite_topic))


class TheirAgent:
    """Hands each request to `answer`, and keeps what was asked."""

    def __init__(self, cluster: Cluster, answer: Answer) -> None:
        self._cluster = cluster
        self._answer = answer
        self.topic = ""
        self.asked: list[tuple[str, Body]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._answering: set[asyncio.Task[None]] = set()
        self._follow_up = ("", "")

    async def __aenter__(self) -> Self:
        cluster = self._cluster
        self.topic = await cluster.topic()
        parent = await cluster.topic(type="LITE", expiration_minutes=60)
        consumer = Consumer(cluster.connection, await cluster.group(), self.topic)
        follow_ups = LiteConsumer(cluster.connection, await cluster.group(lite_parent=parent), parent)
        self._follow_up = parent, uuid.uuid4().hex
        for each in (consumer, follow_ups):
            await each.start()
        await follow_ups.subscribe(self._follow_up[1])
        self._tasks = [asyncio.create_task(self._work(each)) for each in (consumer, follow_ups)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in [*self._tasks, *self._answering]:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._answering, return_exceptions=True)

    def card(self, *, streaming: bool = True) -> Body:
        """Its card, of A2A 0.3."""
        url = f"http://{self._cluster.address.endpoint}//{self.topic}"
        return {
            "name": "Translator",
            "description": "Translates.",
            "version": "2.1",
            "protocolVersion": "0.3.0",
            "url": url,
            "preferredTransport": "RocketMQ",
            "additionalInterfaces": [{"transport": "RocketMQ", "url": url}],
            "capabilities": {"streaming": streaming},
            "defaultInputModes": ["text"],
            "defaultOutputModes": ["text"],
            "skills": [{"id": "translate", "name": "Translate", "description": "Into French.", "tags": ["text"]}],
        }

    async def _work(self, consumer: Consumer | LiteConsumer) -> None:
        while True:
            for message in await consumer.receive():
                envelope = json.loads(message.body)
                rpc = json.loads(envelope["requestBody"])
                self.asked.append((rpc["method"], rpc["params"]))
                reply = Reply(self._cluster, envelope, self._follow_up)
                task = asyncio.create_task(self._reply(rpc, reply))
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)
                await consumer.ack([message])

    async def _reply(self, rpc: Body, reply: Reply) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await self._answer(rpc["method"], rpc["params"], reply)
