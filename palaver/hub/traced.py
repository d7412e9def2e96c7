"""The hub's span of a message: from its stamp to its delivery, below the turn that its author told of."""

from datetime import datetime

from palaver import tracing
from palaver.core import provenance
from palaver.core.message import Message


def delivered(message: Message, hub: str) -> None:
    """A message has gone out; of one whose author does not trace nothing is said."""
    parent = (message.meta or {}).get("traceparent")
    if not isinstance(parent, str):
        return
    told = {
        provenance.CONVERSATION: message.room,
        provenance.AGENT: message.sender,
        "palaver.hub": hub,
        "palaver.seq": message.seq,
    }
    began = datetime.fromisoformat(message.timestamp).timestamp()
    tracing.span(f"deliver {message.room}", told, kind="consumer", parent=parent, began=began).end()
