"""CSV, and ConvoKit's folder."""

import csv
import io
import json
from typing import Any

import msgspec
from hypothesis import given

from palaver.core.message import Message
from palaver.records.corpus import to_convokit
from palaver.records.table import to_csv
from tests.core.test_prompt import message, rooms


def test_a_table_has_a_row_for_each_message_and_nothing_to_compute() -> None:
    said = [message(1, "Ada", '=HYPERLINK("x")'), message(2, "Bob", 'a "b",\nc', to="Ada")]
    rows = list(csv.DictReader(io.StringIO(to_csv(said))))
    assert [row["content"] for row in rows] == ['\'=HYPERLINK("x")', 'a "b",\nc']
    assert [(row["seq"], row["from"], row["to"]) for row in rows] == [("1", "Ada", ""), ("2", "Bob", "Ada")]


def test_a_table_says_who_wrote_in_another_s_name() -> None:
    said = msgspec.structs.replace(message(1, "Bob", "I quit."), meta={"sent_as": True, "by": "Ada"})
    (row,) = csv.DictReader(io.StringIO(to_csv([said])))
    assert (row["from"], row["written_by"]) == ("Bob", "Ada")


def corpus(messages: list[Message]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    files = to_convokit(messages, title="T")
    assert set(files) == {"utterances.jsonl", "speakers.json", "conversations.json", "corpus.json", "index.json"}
    lines = [json.loads(line) for line in files["utterances.jsonl"].splitlines()]
    return lines, {name: json.loads(body) for name, body in files.items() if name.endswith(".json")}


@given(messages=rooms())
def test_a_corpus_holds_together_as_convokit_asks(messages: list[Message]) -> None:
    lines, files = corpus(messages)
    idents = [line["id"] for line in lines]
    assert len(set(idents)) == len(idents)
    for place, line in enumerate(lines):
        assert set(line) == {"id", "conversation_id", "text", "speaker", "meta", "reply-to", "timestamp", "vectors"}
        assert line["speaker"] in files["speakers.json"]
        assert line["conversation_id"] in files["conversations.json"]
        assert line["reply-to"] in idents[:place] or (place == 0 and line["reply-to"] is None)
        assert set(line["meta"]) <= set(files["index.json"]["utterances-index"])
    if lines:
        assert lines[0]["conversation_id"] == lines[0]["id"]


def test_a_corpus_follows_replies_and_knows_the_time() -> None:
    said = [message(1, "Ada", "a"), message(2, "Bob", "b"), msgspec.structs.replace(message(3, "Ada", "c"), reply_to=1)]
    lines, _ = corpus(said)
    assert [line["reply-to"] for line in lines] == [None, "main-1", "main-1"]
    assert lines[0]["timestamp"] == 1767225600
