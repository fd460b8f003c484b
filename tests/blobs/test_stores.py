"""Every blob store keeps what it is given, under its digest and no other name."""

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from blobs.kit import BODY, HOUR, Kind, put, read

from agentmesh.broker.blobs import LocalBlobs, remote_blobs
from agentmesh.broker.blobs.survey import survey
from agentmesh.contracts import Blobs
from agentmesh.errors import BrokerUnavailable, ConfigError, PayloadCorrupt


@pytest.mark.parametrize("body", [b"", b"x", BODY, b"y" * (1 << 20)])
def test_a_body_comes_back_in_pieces(blobs: Blobs, now: int, body: bytes) -> None:
    digest = put(blobs, body, now)
    pieces = list(blobs.open(digest))
    assert b"".join(pieces) == body
    assert all(len(piece) <= 1 << 20 for piece in pieces)


def test_equal_bodies_of_one_tenant_are_one_blob_and_those_of_two_are_two(blobs: Blobs, now: int) -> None:
    digests = [put(blobs, BODY, now, tenant) for tenant in ("acme", "acme", "other", "")]
    assert len(set(digests)) == 3
    assert sorted(blob.digest for blob in blobs.list()) == sorted(set(digests))
    assert {blob.size for blob in blobs.list()} == {len(BODY)}


def test_two_meshes_know_nothing_of_each_other_even_at_one_url(tmp_path: Path, now: int) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    url = f"memory://{tmp_path}"
    first, second = LocalBlobs(tmp_path / "a", url), LocalBlobs(tmp_path / "b", url)
    digest = put(first, BODY, now)
    assert put(second, b"x", now) != put(first, b"x", now)
    assert digest not in [blob.digest for blob in second.list()]
    with pytest.raises(PayloadCorrupt, match="not there"):
        second.open(digest)


def test_what_is_not_there_is_said_so(blobs: Blobs, now: int) -> None:
    put(blobs, b"x", now)
    with pytest.raises(PayloadCorrupt, match=f"{'a' * 64} is not there"):
        blobs.open("a" * 64)
    assert blobs.delete("a" * 64, now) is True


def test_a_store_that_was_never_used_is_empty_and_stays_unmade(tmp_path: Path, now: int) -> None:
    blobs = LocalBlobs(tmp_path)
    assert list(blobs.list()) == []
    assert blobs.delete("a" * 64, now) is True
    blobs.tidy(now)
    with pytest.raises(PayloadCorrupt, match="not there"):
        blobs.open("a" * 64)
    assert list(tmp_path.iterdir()) == []


HOSTILE = ["", "..", "../../etc/passwd", "/etc/passwd", "a" * 63, "a" * 65, "A" * 64, "a" * 63 + "/", "g" * 64]
HOSTILE += ["a" * 64 + "\n", "a" * 62 + "\x00a", "阿" * 64, "../" + "a" * 61, "a" * 30 + "/../" + "a" * 30]


@pytest.mark.parametrize("digest", HOSTILE)
def test_a_hostile_digest_reaches_no_file(blobs: Blobs, now: int, digest: str) -> None:
    put(blobs, b"x", now)
    for attempt in (
        lambda: blobs.put(digest, b"x", now),
        lambda: blobs.open(digest),
        lambda: blobs.delete(digest, now),
    ):
        with pytest.raises(PayloadCorrupt, match="no digest"):
            attempt()


def test_what_was_put_again_is_spared(blobs: Blobs, now: int) -> None:
    digest = put(blobs, BODY, now)
    assert blobs.delete(digest, now - HOUR) is False
    assert read(blobs, digest) == BODY
    assert blobs.delete(digest, now + HOUR) is True
    with pytest.raises(PayloadCorrupt, match="not there"):
        blobs.open(digest)
    assert put(blobs, BODY, now) == digest
    assert read(blobs, digest) == BODY


@pytest.mark.parametrize("kind", ["folder", "file URL", "fsspec"], indirect=True)  # those that have files
@pytest.mark.parametrize("damage", [b"", BODY[:-1], BODY + b"x"])
def test_putting_again_mends_what_was_cut_or_grew(kind: Kind, now: int, damage: bytes) -> None:
    assert kind.file
    digest = put(kind.blobs, BODY, now)
    kind.file(digest).write_bytes(damage)
    assert put(kind.blobs, BODY, now) == digest
    assert read(kind.blobs, digest) == BODY


@pytest.fixture
def folder(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path)


def blob_file(folder: Path) -> Path:
    (found,) = [path for path in (folder / "blobs").rglob("*") if path.is_file()]
    return found


def test_putting_again_mends_what_was_altered_in_a_folder(folder: LocalBlobs, tmp_path: Path, now: int) -> None:
    digest = put(folder, BODY, now)
    blob_file(tmp_path).write_bytes(BODY[:-1] + b"?")
    put(folder, BODY, now)
    assert read(folder, digest) == BODY


def test_putting_again_writes_no_second_file_and_renews_its_time(folder: LocalBlobs, tmp_path: Path, now: int) -> None:
    digest = put(folder, BODY, now - 2 * HOUR)
    before = blob_file(tmp_path).stat()
    assert before.st_mtime_ns // 1_000_000 == now - 2 * HOUR
    put(folder, BODY, now)
    after = blob_file(tmp_path).stat()
    assert (after.st_ino, after.st_mtime_ns // 1_000_000) == (before.st_ino, now)
    assert folder.delete(digest, now - HOUR) is False


def test_files_are_their_owners_alone_two_folders_down(folder: LocalBlobs, tmp_path: Path, now: int) -> None:
    digest = put(folder, BODY, now)
    assert blob_file(tmp_path) == tmp_path / "blobs" / digest[:2] / digest[2:4] / digest
    for path in tmp_path.rglob("*"):
        expected = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == expected, path
    record = json.loads((tmp_path / "blobs.json").read_text())
    assert len(bytes.fromhex(record["secret"])) == 32


def test_another_process_of_the_mesh_has_the_same_digests(folder: LocalBlobs, tmp_path: Path, now: int) -> None:
    digest = put(folder, BODY, now)
    program = (
        "import sys; from pathlib import Path; from agentmesh.broker.blobs import LocalBlobs\n"
        "blobs = LocalBlobs(Path(sys.argv[1])); state = blobs.hash('acme')\n"
        "[state.update(piece) for piece in blobs.open(sys.argv[2])]; print(state.hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), digest], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == f"{digest}\n"


def test_those_who_begin_at_once_agree_on_one_secret(tmp_path: Path) -> None:
    stores = [LocalBlobs(tmp_path) for _ in range(8)]
    barrier = threading.Barrier(len(stores))
    digests = []

    def begin(store: LocalBlobs) -> None:
        barrier.wait()
        digests.append(store.hash("acme").hexdigest())

    threads = [threading.Thread(target=begin, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(digests) == 8
    assert len(set(digests)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blobs.json"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"secret": "zz", "url": ""}', '{"secret": "00", "url": ""}', "\x00"])
def test_a_damaged_record_is_named_and_not_replaced(tmp_path: Path, now: int, text: str) -> None:
    (tmp_path / "blobs.json").write_text(text)
    with pytest.raises(PayloadCorrupt, match=r"blobs\.json .*backup"):
        put(LocalBlobs(tmp_path), b"x", now)
    assert (tmp_path / "blobs.json").read_text() == text


def test_a_folder_that_cannot_be_written_says_what_to_do(folder: LocalBlobs, tmp_path: Path, now: int) -> None:
    folder.hash("acme")
    (tmp_path / "blobs").write_text("somebody's file")
    with pytest.raises(BrokerUnavailable, match=r"blobs cannot be used .*Check its owner and its rights"):
        put(folder, BODY, now)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_says_what_to_do(folder: LocalBlobs, tmp_path: Path, now: int) -> None:
    put(folder, BODY, now)
    (tmp_path / "blobs").chmod(0o500)
    with pytest.raises(BrokerUnavailable, match="Check its owner and its rights"):
        put(folder, b"other", now)
    (tmp_path / "blobs").chmod(0o700)


def test_what_is_left_of_a_put_that_was_cut_short_is_tidied_away(folder: LocalBlobs, tmp_path: Path, now: int) -> None:
    digest = put(folder, BODY, now)
    part = blob_file(tmp_path).with_name(".0123456789abcdef.part")
    part.write_bytes(b"half")
    os.utime(part, (now / 1000, now / 1000))
    folder.tidy(now - HOUR)
    assert part.exists()
    folder.tidy(now + HOUR)
    assert not part.exists()
    assert [blob.digest for blob in folder.list()] == [digest]


# Where they lie


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nope://x", "Protocol not known: nope"),
        ("s3://bucket/x", "Install s3fs"),
        ("file://relative/x", "file:///absolute/path"),
        ("sftp://me:hunter2@host/x", "holds a password"),
        ("file:///proc/nowhere", "cannot be used"),
        ("local:///proc/nowhere", "cannot be used"),
        ("http://127.0.0.1:9/x", "cannot be"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_at_once_and_not_kept(tmp_path: Path, url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        LocalBlobs(tmp_path, url).settle()
    assert "hunter2" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match=message):
        remote_blobs(url)


def test_the_mesh_remembers_where_its_bodies_are(tmp_path: Path, now: int) -> None:
    url = f"file://{tmp_path}/elsewhere"
    LocalBlobs(tmp_path, url).settle()
    told, untold = LocalBlobs(tmp_path, url), LocalBlobs(tmp_path)
    digest = put(told, BODY, now)
    assert read(untold, digest) == BODY
    assert not (tmp_path / "blobs").exists()
    with pytest.raises(ConfigError, match=f"the bodies of this mesh are at {url}"):
        LocalBlobs(tmp_path, "memory://x").settle()


def test_a_mesh_that_began_in_its_folder_stays_there(tmp_path: Path, now: int) -> None:
    put(LocalBlobs(tmp_path), BODY, now)
    with pytest.raises(ConfigError, match=f"are at {tmp_path}/blobs"):
        LocalBlobs(tmp_path, "memory://x").settle()


def test_a_survey_counts_and_names_what_is_missing_or_damaged(kind: Kind, now: int) -> None:
    blobs = kind.blobs
    whole, stranger = put(blobs, b"whole", now), put(blobs, b"stranger", now)
    found = survey(blobs, {whole: 5})
    assert found.facts() == {"blobs": 2, "blob bytes": 13, "blobs without owner": 1}
    assert found.problems() == []
    found = survey(blobs, {whole: 5, "a" * 64: 1, stranger: 9})
    assert (found.missing, found.damaged, found.strangers) == (["a" * 64], [stranger], 0)
    missing, damaged = found.problems()
    assert f"1 large bodies are missing: {'a' * 64}" in missing
    assert stranger in damaged
