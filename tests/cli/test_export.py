"""`palaver export`, `import` and `diff` over a hub's log and over files."""

import json
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from palaver.cli import main
from palaver.cli.recorded import read
from palaver.core.message import Message
from palaver.core.transcript import to_line
from tests.core.test_prompt import message, talk
from tests.hubs import joined, running

EXPORT, IMPORT, DIFF = "export", "import", "diff"


@pytest.fixture
def transcript(tmp_path: Path) -> Path:
    """Six messages as a hub writes them."""
    return written(tmp_path / "talk.jsonl", talk(6))


def written(path: Path, messages: list[Message]) -> Path:
    path.write_bytes(b"".join(to_line(one) + b"\n" for one in messages))
    return path


async def recorded(folder: Path, *rooms: str) -> Path:
    async with running(folder) as hub:
        for room in rooms:
            async with joined(hub.url, "Ada", room=room) as ada, joined(hub.url, "Bob", room=room):
                await ada.say(f"Hello Bob, this is {room}.")
                await ada.command("/w Bob psst")
    return folder


@pytest.mark.parametrize("form", ["openai", "sharegpt", "trl", "md", "html", "csv", "jsonl"])
async def test_every_form_can_be_had_of_a_data_directory(
    form: str, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    data = await recorded(tmp_path, "main")
    assert main([EXPORT, str(data), "--format", form, "-o", str(tmp_path / "out")]) == 0
    assert main([EXPORT, str(data), "--format", form]) == 0
    assert capfdbinary.readouterr().out == (tmp_path / "out").read_bytes() != b""


async def test_a_room_is_found_by_name_and_an_unknown_one_lists_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = await recorded(tmp_path, "tea", "coffee")
    assert read(f"{data}:tea").messages[0].content == "Hello Bob, this is tea."
    assert read(str(data), "coffee").room == "coffee"
    assert main([EXPORT, str(data)]) == 2
    assert f"{data} holds no room 'main'; it holds: tea, coffee" in capsys.readouterr().err


async def test_what_a_killed_hub_did_not_archive_is_read_from_its_log(tmp_path: Path) -> None:
    data = await recorded(tmp_path, "main")
    with closing(sqlite3.connect(data / "palaver.sqlite3")) as database, database:
        database.execute("DELETE FROM messages")
    assert [one.content for one in read(str(data)).messages] == ["Hello Bob, this is main.", "psst"]


def test_a_blind_export_keeps_its_key_apart_and_private(transcript: Path, tmp_path: Path) -> None:
    out = tmp_path / "blind.md"
    assert main([EXPORT, str(transcript), "--blind", "-o", str(out)]) == 0
    key = tmp_path / "blind.md.key.json"
    assert json.loads(key.read_text()) == {"Speaker A": "Bob", "Speaker B": "Zen Sage", "Speaker C": "Ada"}
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert "Bob" not in out.read_text()
    assert "**Speaker A**" in out.read_text()


def test_a_blind_export_has_its_key_nowhere_else(transcript: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([EXPORT, str(transcript), "--blind"]) == 2
    assert "needs --key FILE" in capsys.readouterr().err


def test_what_only_blinding_uses_is_not_ignored_without_it(
    transcript: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for flag in ("--seed=0", "--key=key.json"):
        assert main(["export", str(transcript), flag]) == 2
        assert capsys.readouterr() == ("", "error: --seed and --key go with --blind\n")


def test_a_participant_s_view_leaves_out_what_was_whispered_to_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = [message(1, "Mod", "hello"), message(2, "Mod", "psst", to="Ada"), message(3, "Bob", "hi")]
    path = written(tmp_path / "talk.jsonl", said)
    assert main([EXPORT, str(path), "--as", "bob", "--format", "md"]) == 0
    assert "psst" not in capsys.readouterr().out
    assert main([EXPORT, str(path), "--as", "ADA", "--format", "md"]) == 0
    assert "psst" in capsys.readouterr().out
    assert main([EXPORT, str(path), "--as", "Zoe"]) == 2
    assert "--as 'Zoe' took no part; these did: Mod, Bob" in capsys.readouterr().err


def test_a_broken_line_is_named_and_nothing_is_left_behind(
    transcript: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = transcript.read_text().splitlines()
    transcript.write_text("\n".join([lines[0], '{"no": "message"}', lines[2]]))
    assert main([EXPORT, str(transcript), "-o", str(tmp_path / "out.md")]) == 1
    assert "talk.jsonl: line 2 of the transcript is no message" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["talk.jsonl"]


def test_a_file_that_cannot_be_written_is_told_and_the_old_one_stays(
    transcript: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("old")
    assert main([EXPORT, str(transcript), "-o", str(tmp_path / "file" / "out.md")]) == 1
    assert "cannot be written" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "old"


def test_a_corpus_is_a_folder(transcript: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([EXPORT, str(transcript), "--format", "convokit"]) == 2
    assert main([EXPORT, str(transcript), "--format", "convokit", "-o", str(tmp_path / "corpus")]) == 0
    assert len(list((tmp_path / "corpus").iterdir())) == 5


def test_what_was_exported_as_jsonl_is_the_same_again(transcript: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.jsonl"
    assert main([EXPORT, str(transcript), "-o", str(again)]) == 0
    assert again.read_bytes() == transcript.read_bytes()
    assert main([DIFF, str(transcript), str(again)]) == 0


def test_what_was_exported_for_openai_is_imported_the_same(transcript: Path, tmp_path: Path) -> None:
    row, again = tmp_path / "row.json", tmp_path / "again.jsonl"
    assert main([EXPORT, str(transcript), "--format", "openai", "-o", str(row)]) == 0
    assert main([IMPORT, str(row), "--room", "main", "-o", str(again)]) == 0
    assert main([DIFF, str(transcript), str(again)]) == 0


def test_an_irc_log_becomes_a_transcript_that_the_others_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "tea time.log"
    log.write_text("12:34 <ada> hi\n12:35 * bob waves\n")
    out = tmp_path / "tea.jsonl"
    assert main([IMPORT, str(log), "-o", str(out)]) == 0
    assert "2 messages of ada, bob" in capsys.readouterr().out
    assert read(str(out)).room == "tea-time"
    assert main([EXPORT, str(out), "--format", "html", "-o", str(tmp_path / "tea.html")]) == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no messages"),
        ("Dear Sir", "line 1 is no line of an IRC log"),
        ('{"a": 1}', "line 1 must be an object"),
    ],
)
def test_what_cannot_be_imported_is_told(
    text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").write_text(text)
    assert main([IMPORT, str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_branches_are_shown_from_where_they_part(
    transcript: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    branch = talk(6)
    branch[3] = message(4, "Bob", "\x1b[31manother way " + "on and on " * 20)
    other = written(tmp_path / "branch.jsonl", branch)
    monkeypatch.setenv("COLUMNS", "60")
    assert main([DIFF, str(transcript), str(other)]) == 1
    shown = capsys.readouterr().out.splitlines()
    assert shown[2:8] == [
        "@@ 3 messages in common @@",
        "  1 Bob: words-1.",
        "  2 Zen Sage: words-2.",
        "  3 Ada: words-3.",
        "- 4 Bob: words-4.",
        "+ 4 Bob: another way on and on on and on on and on on and on",
    ]
    assert max(map(len, shown[2:])) <= 60
    monkeypatch.setenv("COLUMNS", "120")
    assert main([DIFF, str(transcript), str(other)]) == 1
    assert any(" | 4 Bob: another way" in line for line in capsys.readouterr().out.splitlines())


def test_a_missing_file_is_no_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([DIFF, str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    assert "No such file" in capsys.readouterr().err
