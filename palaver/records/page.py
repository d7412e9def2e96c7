"""A conversation as one HTML file that asks nobody for anything: what was said, and its figures drawn as SVG.

Whatever a model wrote is text here, never markup: it is escaped, and a policy in the page forbids scripts and requests.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from palaver.core.message import Message, key_of
from palaver.records import charts
from palaver.records.escaping import shown
from palaver.records.figures import follows, latencies, said_to_all, shares, words_by_name

_STYLE: Final = """
:root{color-scheme:light dark;--ground:#f6f5f2;--sheet:#fff;--ink:#1c1b19;--soft:#66625b;--line:#e2ded6;--track:#eeebe4;
--accent:#0f766e;--light:34%;--tint:96%;font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
@media(prefers-color-scheme:dark){:root{--ground:#151615;--sheet:#1e201f;--ink:#ecebe8;--soft:#a3a19b;--line:#343735;
--track:#2a2d2b;--accent:#2dd4bf;--light:72%;--tint:17%}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem 1rem 4rem;max-width:72rem;background:var(--ground);color:var(--ink)}
h1{font-size:1.5rem;line-height:1.2;margin:0 0 .25rem;overflow-wrap:anywhere}
h2{font-size:.78rem;letter-spacing:.06em;text-transform:uppercase;color:var(--soft);margin:0 0 .5rem}
h2 small{letter-spacing:0;text-transform:none;font-weight:400}
.about{color:var(--soft);margin:0 0 1.5rem}
main{display:grid;gap:1.5rem;grid-template-columns:minmax(0,1fr) minmax(0,22rem);align-items:start}
@media(max-width:52rem){main{grid-template-columns:minmax(0,1fr)}aside{order:-1}}
aside{display:grid;gap:1rem}
aside section,article{background:var(--sheet);border:1px solid var(--line);border-radius:.75rem;padding:.75rem 1rem}
article{margin:0 0 .75rem}
article header{display:flex;flex-wrap:wrap;gap:.15rem .6rem;align-items:baseline}
article header b{color:hsl(var(--hue) 60% var(--light));overflow-wrap:anywhere}
article p{white-space:pre-wrap;overflow-wrap:anywhere;margin:.25rem 0 0}
small,time{color:var(--soft);font-size:.8rem}
.whisper{border-style:dashed}.gone p{color:var(--soft);font-style:italic}
svg{display:block;width:100%;height:auto;max-width:22rem}
svg text{font-size:12px;fill:var(--ink)}svg .value{fill:var(--soft)}
svg .track{fill:var(--track)}svg .bar{fill:hsl(var(--hue) 45% 50%)}
svg .heat{fill:var(--accent)}svg .mark{fill:var(--ink)}
svg .on{fill:var(--ground)}
@media print{body{max-width:none}article{break-inside:avoid}}
"""
_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="referrer" content="no-referrer"><title>{title}</title><style>{style}</style></head>
<body><header><h1 dir="auto">{title}</h1><p class="about">{about}</p></header>
<main><section aria-label="What was said">
{articles}
</section><aside aria-label="Figures">
{figures}
</aside></main></body></html>
"""


def to_html(messages: Sequence[Message], *, title: str) -> str:
    """The whole page. Figures count what was said to all."""
    said = said_to_all(messages)
    hues = _hues(messages)
    drawn = [
        ("Share of the words", charts.share(shares(words_by_name(said)), hues)),
        ("Who follows whom", charts.follows(follows(said), list(words_by_name(said)))),
        ("Time to answer <small>median, mark at 95 %</small>", charts.latency(latencies(said), hues)),
    ]
    figures = "\n".join(f"<section><h2>{name}</h2>{picture}</section>" for name, picture in drawn if picture)
    return _PAGE.format(
        title=shown(title),
        style=_STYLE,
        about=_about(messages, len(hues)),
        articles="\n".join(_article(message, hues) for message in messages) or "<p>Nothing was said.</p>",
        figures=figures,
    )


def _about(messages: Sequence[Message], names: int) -> str:
    if not messages:
        return "no messages"
    first, last = (f"{stamp[:10]} {stamp[11:16]}" for stamp in (messages[0].timestamp, messages[-1].timestamp))
    return f"{counted(len(messages), 'message')}, {counted(names, 'speaker')}, {shown(first)} to {shown(last)} UTC"


def counted(number: int, what: str) -> str:
    """`1 message`, `2 messages`."""
    return f"{number} {what}{'s' * (number != 1)}"


def _article(message: Message, hues: Mapping[str, int]) -> str:
    gone = message.redacted is not None
    text = f"redacted: {message.redacted}" if gone else message.content
    kind = " ".join(["whisper"] * (message.to is not None) + ["gone"] * gone)
    to = f"<small>to {shown(message.to)}</small>" if message.to is not None else ""
    by = f"<small>written by {shown(message.written_by)}</small>" if message.written_by else ""
    name = f'<b dir="auto" style="--hue:{hues[key_of(message.sender)]}">{shown(message.sender)}</b>'
    head = f"<header>{name}{to}{by}<small>{message.seq} · {_stamp(message)}</small></header>"
    made = _made_by(message)
    foot = f"<small>{made}</small>" if made else ""
    return f'<article class="{kind}" id="m{message.seq}">{head}<p dir="auto">{shown(text)}</p>{foot}</article>'


def _stamp(message: Message) -> str:
    at = shown(message.timestamp)
    return f'<time datetime="{at}">{at[11:19] or at}</time>'


def _made_by(message: Message) -> str:
    meta = message.meta or {}
    told = [str(meta["model"])] if meta.get("model") else []
    tokens, took = meta.get("completion_tokens"), meta.get("total_seconds")
    told += [counted(tokens, "token")] if isinstance(tokens, int) and tokens else []
    told += [f"{took:.2f} s"] if isinstance(took, int | float) and took else []
    return shown(" · ".join(told))


def _hues(messages: Sequence[Message]) -> dict[str, int]:
    """A colour for each name, in order of appearance: the golden angle keeps them apart, as on the hub's page."""
    names = dict.fromkeys(key_of(message.sender) for message in messages)
    return {name: round(170 + place * 137.508) % 360 for place, name in enumerate(names)}
