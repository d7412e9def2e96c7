"""The moderator's seat: a console on a terminal or a pipe."""
