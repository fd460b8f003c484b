"""What an export holds so far: a fold of its records, the same while it is written and when it is gone on with."""

from collections import Counter

from agentmesh.message import decode_message
from agentmesh.runtime.transfer.records import (
    AgentRecord,
    BlobRecord,
    DeadRecord,
    End,
    Header,
    LogRecord,
    OpenRecord,
    ProblemRecord,
    Record,
    RouteRecord,
    TaskRecord,
    TenantRecord,
    TopicRecord,
)


class Sofar:
    """`settled` are the logs of calls that came as tasks or dead letters, or that ended after they were looked at;
    `pending` those that are to be looked at again. The pass over all logs is past the name `looked`; `unfinished` is
    the log in the middle of which the export was, and the offset of the last entry that it has.
    """

    def __init__(self) -> None:
        self.header: Header | None = None
        self.ended = False
        self.tenants: set[str] = set()
        self.agents: set[tuple[str, str]] = set()
        self.routes: set[str] = set()
        self.topics: set[str] = set()
        self.blobs: set[str] = set()
        self.settled: set[str] = set()
        self.pending: set[str] = set()
        self.looked = ""
        self.unfinished: tuple[str, int] | None = None
        self.problems: list[str] = []
        self.counts: Counter[str] = Counter()

    def add(self, record: Record) -> None:
        """Take in the next record."""
        match record:
            case Header():
                self.header = record
            case TenantRecord():
                self.tenants.add(record.tenant.name)
                self.counts["tenants"] += 1
            case AgentRecord():
                self.agents.add((record.topic, record.version))
                self.counts["agents"] += 1
            case RouteRecord():
                self.routes.add(record.topic)
            case TopicRecord():
                self.topics.add(record.name)
                self.counts["topics"] += 1
            case BlobRecord():
                if record.start + len(record.data) == record.size:
                    self.blobs.add(record.digest)
                    self.counts["blobs"] += 1
            case LogRecord():
                self._add_log(record)
            case OpenRecord():
                self.pending.update(record.names)
                self.looked = max(self.looked, *record.names)
            case TaskRecord() | DeadRecord():
                log = decode_message(record.message).log
                self.settled.add(log)
                self.pending.discard(log)
                self.counts["tasks" if isinstance(record, TaskRecord) else "dead_letters"] += 1
            case ProblemRecord():
                self.problems.append(record.text)
            case End():
                self.ended = True

    def _add_log(self, record: LogRecord) -> None:
        self.counts["entries"] += len(record.rows)
        last = record.rows[-1][0] if record.rows else -1
        self.unfinished = (record.name, last) if record.more else None
        if record.more:
            return
        self.counts["logs"] += 1
        if record.name in self.pending:
            self.pending.discard(record.name)
            self.settled.add(record.name)
        else:
            self.looked = max(self.looked, record.name)
