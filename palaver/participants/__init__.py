"""The other side of the wire: whoever takes part in a room."""
