"""Files that are no whole export, and files that an export may go on with."""

import io
import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from transfer.kit import contents, exported, fill, imported, mesh, place

from agentmesh import Conflict
from agentmesh.errors import BrokerUnavailable, PayloadCorrupt
from agentmesh.ids import new_token
from agentmesh.runtime.transfer import check_whole, export_mesh, open_part
from agentmesh.runtime.transfer.frames import LARGEST, MAGIC, FrameReader, FrameWriter
from agentmesh.runtime.transfer.part import part_of
from agentmesh.runtime.transfer.records import End, Header, ProblemRecord, decode_records, encode_records


def memory() -> str:
    return f"memory://{new_token()}"


@pytest.fixture
async def raw() -> bytes:
    """An export of three frames and more."""
    async with mesh(memory()) as source:
        await fill(source)
        return (await exported(source))[0]


def frames(raw: bytes) -> list[bytes]:
    reader = FrameReader(io.BytesIO(raw), "x")
    reader.begin()
    starts = [len(MAGIC), *(frame.end for frame in reader.frames())]
    return [raw[start:end] for start, end in itertools.pairwise(starts)]


async def test_what_is_cut_short_anywhere_is_said_to_be(raw: bytes) -> None:
    whole = frames(raw)
    assert len(whole) > 3
    for length in (
        len(raw) - 1,
        len(raw) - len(whole[-1]),
        len(MAGIC) + len(whole[0]) + 3,
        len(MAGIC) + 30,
        len(MAGIC),
    ):
        with pytest.raises(PayloadCorrupt, match="cut short after byte"):
            check_whole(io.BytesIO(raw[:length]), "mesh.export")
    async with mesh(memory()) as target:
        with pytest.raises(PayloadCorrupt, match=r"the export is cut short"):
            await imported(target, raw[:-1])
        assert not (await imported(target, raw)).sofar.problems  # and the whole one goes on from there


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw, whole: raw[:-30] + bytes([raw[-30] ^ 1]) + raw[-29:],
        lambda raw, whole: raw[: len(MAGIC) + 4] + b"\0" + raw[len(MAGIC) + 5 :],
        lambda raw, whole: MAGIC + b"".join([whole[1], whole[0], *whole[2:]]),
        lambda raw, whole: MAGIC + b"".join([*whole[:1], *whole[2:]]),
        lambda raw, whole: MAGIC + b"".join([whole[0], *whole]),
        lambda raw, whole: raw + whole[-1],
        lambda raw, whole: MAGIC + (LARGEST + 1).to_bytes(4, "big") + raw[len(MAGIC) + 4 :],
    ],
)
async def test_what_is_altered_swapped_left_out_or_repeated_is_damaged(
    raw: bytes, damage: Callable[[bytes, list[bytes]], bytes]
) -> None:
    async with mesh(memory()) as target:
        with pytest.raises(PayloadCorrupt, match=r"is damaged after byte|cut short"):
            await imported(target, damage(raw, frames(raw)))


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04 and so on and on", "is no export"),
        (b"agentmesh export 2\n", "of format 2, and this agentmesh reads 1: upgrade"),
    ],
)
def test_what_is_no_export_is_said_to_be_none(raw: bytes, said: str) -> None:
    with pytest.raises(PayloadCorrupt, match=said):
        check_whole(io.BytesIO(raw), "mesh.export")


def written(*records: list[object]) -> bytes:
    file = io.BytesIO()
    writer = FrameWriter(file)
    for each in records:
        writer.write(encode_records(each))  # type: ignore[arg-type]
    return file.getvalue()


async def test_records_that_make_no_sense_are_refused() -> None:
    header = Header("x", 1, "memory://a", "1")
    unknown = io.BytesIO()
    FrameWriter(unknown).write(b"\x91\x81\xa4type\xa6future")
    async with mesh(memory()) as target:
        for raw, said in (
            (written([End({})]), "header"),
            (written([header, End({"logs": 3})]), "what it says at its end"),
            (written([header, End({})], [ProblemRecord("x")]), "after its end"),
            (unknown.getvalue(), "upgrade"),
        ):
            with pytest.raises(PayloadCorrupt, match=said):
                await imported(target, raw)


def test_a_content_that_unpacks_to_more_than_a_frame_may_hold_is_refused() -> None:
    file = io.BytesIO()
    FrameWriter(file).write(bytes(LARGEST + 1))
    with pytest.raises(PayloadCorrupt, match="damaged"):
        check_whole(io.BytesIO(file.getvalue()), "x")


async def test_an_export_goes_on_where_it_was_cut_wherever_that_was(tmp_path: Path) -> None:
    path = tmp_path / "mesh.export"
    async with mesh(memory()) as source:
        await fill(source)
        before = await contents(source)
        raw, _ = await exported(source)
        ends = [len(MAGIC) + sum(map(len, frames(raw)[:count])) for count in range(len(frames(raw)) + 1)]
        for length in [0, 5, *ends, *(end - 7 for end in ends[1:]), *(end + 7 for end in ends[1:-1])]:
            part_of(path).write_bytes(raw[:length])
            part = open_part(path, source="memory://kit")
            assert part.resumed == (length >= ends[1])
            await export_mesh(place(source), part)
            part.close()
            check_whole(io.BytesIO(path.read_bytes()), "x")
            async with mesh(memory()) as target:
                await imported(target, path.read_bytes())
                assert await contents(target) == before
            path.unlink()


async def test_the_file_is_its_owner_s_alone_and_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "mesh.export"
    os.close(os.open(part_of(path), os.O_CREAT | os.O_WRONLY, 0o644))
    async with mesh(memory()) as source:
        part = open_part(path, source="a")
        with pytest.raises(Conflict, match="being written by another process"):
            open_part(path, source="a")
        assert not path.exists()
        await export_mesh(place(source), part)
        part.close()
    assert path.stat().st_mode & 0o777 == 0o600
    assert not part_of(path).exists()
    with pytest.raises(Conflict, match="--overwrite"):
        open_part(path, source="a")
    open_part(path, source="a", overwrite=True).close()


def test_what_was_begun_for_another_mesh_or_is_no_export_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "mesh.export"
    part_of(path).write_bytes(written([Header("x", 1, "memory://a", "1")]))
    with pytest.raises(Conflict, match="begun for memory://a, not for memory://b"):
        open_part(path, source="memory://b")
    part_of(path).write_bytes(b"a letter to my grandmother")
    with pytest.raises(Conflict, match="is no export"):
        open_part(path, source="memory://b")
    assert part_of(path).read_bytes() == b"a letter to my grandmother"
    with pytest.raises(BrokerUnavailable, match="cannot be written"):
        open_part(tmp_path / "nowhere" / "x", source="a")


def test_a_frame_says_what_it_holds() -> None:
    (frame,) = frames(written([ProblemRecord("坏")]))
    reader = FrameReader(io.BytesIO(MAGIC + frame), "x")
    reader.begin()
    (read,) = reader.frames()
    assert decode_records(read.content, "x") == [ProblemRecord("坏")]
