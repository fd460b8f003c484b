"""The round trips of `benchmarks/rocketmq_client.py` through rocketmq-python-client's own classes.

    python benchmarks/rocketmq_official.py [--endpoint HOST:PORT] [--remoting HOST:PORT] [--calls N] [--flight N]

Each call in flight has a thread, since these classes block. Their `subscribe_lite` sends the letters of a name instead
of the name (5.1.2); `Name` gets the name through, so that what is measured is not that mistake.
"""

import asyncio
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator

from rocketmq_client import GIVE_UP, REPLIES, REQUESTS, WORKERS, arguments, figures, prepare

from agentmesh.broker.rocketmq.address import Address

CALLERS = "cl-bench-callers"


class Name(str):
    """A name that is one item when it is taken for a list."""

    __slots__ = ()

    def __iter__(self) -> Iterator[str]:
        yield str(self)


def work(endpoint: str, flight: int) -> None:
    """Answer requests until standard input ends."""
    import rocketmq

    configuration = rocketmq.ClientConfiguration(endpoint, rocketmq.Credentials())
    producer = rocketmq.Producer(configuration, [REPLIES])
    producer.startup()

    class Answering(rocketmq.MessageListener):  # type: ignore[misc]
        def consume(self, message: rocketmq.Message) -> rocketmq.ConsumeResult:
            reply = rocketmq.Message()
            reply.topic, reply.body, reply.lite_topic = REPLIES, message.body, message.properties["reply"]
            producer.send(reply)
            return rocketmq.ConsumeResult.SUCCESS

    topics = {REQUESTS: rocketmq.FilterExpression()}
    consumer = rocketmq.PushConsumer(configuration, WORKERS, Answering(), topics, consumption_thread_count=flight)
    consumer.startup()
    print("ready", flush=True)
    sys.stdin.read()
    os._exit(0)


class Caller:
    """Calls, each with a LiteTopic of its own."""

    def __init__(self, endpoint: str) -> None:
        import rocketmq

        self.rocketmq = rocketmq
        configuration = rocketmq.ClientConfiguration(endpoint, rocketmq.Credentials())
        self.waiting: dict[str, threading.Event] = {}
        self.times: list[float] = []
        self.lost = 0
        waiting = self.waiting

        class Replies(rocketmq.MessageListener):  # type: ignore[misc]
            def consume(self, message: rocketmq.Message) -> rocketmq.ConsumeResult:
                event = waiting.get(message.lite_topic)
                if event:
                    event.set()
                return rocketmq.ConsumeResult.SUCCESS

        self.producer = rocketmq.Producer(configuration, [REQUESTS])
        self.consumer = rocketmq.LitePushConsumer(configuration, CALLERS, REPLIES, Replies())
        self.producer.startup()
        self.consumer.startup()

    def call(self) -> None:
        name = Name(f"call-{uuid.uuid4().hex}")
        began = time.perf_counter()
        event = self.waiting[name] = threading.Event()
        self.consumer.subscribe_lite(name)
        request = self.rocketmq.Message()
        request.topic, request.body = REQUESTS, b"x" * 200
        request.add_property("reply", str(name))
        self.producer.send(request)
        self.lost += not event.wait(GIVE_UP)
        self.times.append(time.perf_counter() - began)
        del self.waiting[name]
        self.consumer.unsubscribe_lite(name)

    def calls(self, count: int, flight: int) -> float:
        """Seconds that they took."""
        numbers = itertools.count()

        def lane() -> None:
            while next(numbers) < count:
                self.call()

        self.times.clear()
        began = time.perf_counter()
        threads = [threading.Thread(target=lane) for _ in range(flight)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        return time.perf_counter() - began


def main() -> None:
    given = arguments()
    os.environ["HOME"] = tempfile.mkdtemp()  # the package writes its log there
    if given.worker:
        work(given.endpoint, given.flight)
    asyncio.run(prepare(Address(given.endpoint, given.remoting)))
    command = [sys.executable, __file__, "--worker", "--endpoint", given.endpoint, "--flight", str(given.flight)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout
        worker.stdout.readline()
        caller = Caller(given.endpoint)
        caller.calls(given.warm, given.flight)
        cpu = time.process_time()
        seconds = caller.calls(given.calls, given.flight)
        cpu = time.process_time() - cpu
        print(json.dumps(figures("rocketmq-python-client", caller.times, seconds, caller.lost, given.flight, cpu)))
        sys.stdout.flush()
        worker.communicate()
    os._exit(0)  # its threads do not end


if __name__ == "__main__":
    main()
