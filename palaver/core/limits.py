"""How much one address and one member may ask of a hub: the one place for these defaults."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What a hub bears; 0 is no limit. Addresses of its own machine have no limits of their own."""

    connections: int = 256
    """Open at once from one address."""
    joins: int = 600
    """A minute from one address, refused ones too."""
    unjoined: int = 2000
    """Connections in all that have not joined."""
    join_seconds: float = 10.0
    """That a connection may take to join."""
    frames: float = 200.0
    """A second from one member; streamed text counts a tenth."""
    refusals: int = 1000
    """Frames refused for their rate, beyond what time forgives, until a member is sent away."""


MOST_HISTORY = 10_000
"""Past messages that a newcomer may get at most: they are kept in memory."""
MOST_TURNS = 1000
"""Turns of a conversation that a server holds."""
