"""Transcripts of a disk that takes nothing for a while."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from palaver.core.message import Message
from palaver.core.transcript import from_lines, markdown_of, to_line
from palaver.hub import transcripts
from palaver.hub.transcripts import Transcripts
from tests.core.test_prompt import message
from tests.nats_server import until


def block(file: Path) -> None:
    file.rename(file.with_suffix(".aside"))
    file.mkdir()


def unblock(file: Path) -> None:
    file.rmdir()
    file.with_suffix(".aside").rename(file)


def holds(folder: Path, said: Sequence[Message]) -> bool:
    """Whether both files have these messages and no others."""
    lines = list(from_lines((folder / "main.jsonl").read_bytes().splitlines()))
    return lines == list(said) and (folder / "main.md").read_text() == "".join(map(markdown_of, said))


@pytest.mark.parametrize("name", ["main.jsonl", "main.md"])
async def test_a_file_that_could_not_be_written_is_whole_again_later(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where only one of the two could not: neither says anything twice, and none is behind the other."""
    monkeypatch.setattr(transcripts, "AGAIN", 0.0)
    archive: list[Message] = []

    async def fetch(after: int, limit: int) -> list[Message]:
        return [one for one in archive if one.seq > after][:limit]

    def say(text: str) -> None:
        archive.append(message(len(archive) + 1, "Ada", text))
        files.write("main", [(archive[-1], to_line(archive[-1]))])

    files = Transcripts(tmp_path)
    await files.open("main", fetch)
    say("one")
    await until(lambda: (tmp_path / "main.md").exists() and holds(tmp_path, archive))
    block(tmp_path / name)
    say("two")
    await until(lambda: "main" in files._broken)
    unblock(tmp_path / name)
    assert holds(tmp_path, archive[:1])
    say("three")
    await until(lambda: holds(tmp_path, archive))
    await files.close()
    assert holds(tmp_path, archive)
