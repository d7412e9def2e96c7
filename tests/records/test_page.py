"""The page that asks nobody for anything."""

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from palaver.records.page import to_html
from tests.core.test_prompt import message, talk

EVIL = "</p><script>alert(1)</script><img src=x onerror=alert(2)>\x00\x1b[31m\u202egnp\"'&"


class _Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def seen(page: str) -> _Seen:
    parser = _Seen()
    parser.feed(page)
    return parser


def test_what_models_write_is_text_wherever_it_stands() -> None:
    page = to_html([message(1, EVIL, EVIL, to=EVIL), message(2, "Bob", EVIL, redacted=EVIL), *talk(4)], title=EVIL)
    parsed = seen(page)
    tags = {tag for tag, _ in parsed.tags}
    assert not tags & {"script", "img", "a", "link", "iframe", "object", "form", "base"}
    assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)
    assert "<script>alert(1)</script>" in parsed.text
    assert not re.search("[\x00\x1b\u202e]", page)


def test_it_asks_nobody_for_anything() -> None:
    parsed = seen(page := to_html(talk(9), title="T"))
    fetched = {"src", "href", "srcset", "action", "data", "poster", "background"}
    assert not any(fetched & set(attributes) for _, attributes in parsed.tags)
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_its_figures_are_pictures_that_can_also_be_heard() -> None:
    page = to_html(talk(9), title="T")
    pictures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    labels = [ET.fromstring(picture).get("aria-label") or "" for picture in pictures]
    assert len(labels) == 3
    assert labels[0].startswith("Share of words: ")
    assert "Bob after" in labels[1] or "after Bob" in labels[1]
    assert labels[2].startswith("Median time to answer")


def test_it_says_who_wrote_in_another_s_name() -> None:
    said = msgspec.structs.replace(message(1, "Bob", "I quit."), meta={"sent_as": True, "by": "Ada <b>"})
    assert "<small>written by Ada &lt;b&gt;</small>" in to_html([said], title="T")


def test_an_empty_conversation_is_a_page_without_figures() -> None:
    page = to_html([], title="T")
    assert "Nothing was said." in page
    assert "<svg" not in page


@given(st.text())
def test_any_text_makes_a_page_of_the_same_shape(text: str) -> None:
    tags = [tag for tag, _ in seen(to_html([message(1, "Ada", text)], title=text)).tags]
    assert tags == [tag for tag, _ in seen(to_html([message(1, "Ada", "x")], title="x")).tags]
