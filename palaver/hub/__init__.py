"""One side of the wire: the websocket door, the log, delivery."""
