"""The rows of docs/security.md: what somebody may try, what holds it, its test, and the change that takes it out.

`python -m tests.security.mutations` makes each change in a copy of the project and sees the row's test fail;
`python -m tests.security.rows` writes the table into docs/security.md.
"""

from pathlib import Path
from typing import Final, NamedTuple

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "security.md"


class Row(NamedTuple):
    """One thing that is held. In `path`, `old` is replaced by `new` to take it out."""

    attempt: str
    held_by: str
    test: str
    path: str
    old: str
    new: str


NETWORK: Final = (
    Row(
        "reach a hub that nobody meant to open",
        "listening beyond this machine needs a secret or `--insecure`",
        "test_open.py::test_a_hub_beyond_this_machine_needs_a_secret",
        "palaver/cli/server.py",
        "not arguments.insecure and not is_loopback(arguments.host)",
        "False",
    ),
    Row(
        "reach an API that nobody meant to open",
        "without a secret other machines are refused",
        "tests/api/test_access.py::test_a_server_without_a_token_serves_its_own_machine_only",
        "palaver/api/access.py",
        "if self._local_only and not (is_loopback(client) and is_loopback(called)):",
        "if False:",
    ),
    Row(
        "join without a token",
        "refused where a secret is set",
        "test_tokens.py::test_any_other_token_is_refused_with_what_to_do_and_never_logged[no token]",
        "palaver/hub/tokens.py",
        "            raise missing()",
        "            return Rights()",
    ),
    Row(
        "sign a token oneself",
        "the signature",
        "test_tokens.py::test_any_other_token_is_refused_with_what_to_do_and_never_logged[other secret]",
        "palaver/hub/tokens.py",
        '"verify_iat": False}',
        '"verify_iat": False, "verify_signature": False}',
    ),
    Row(
        "choose the algorithm (none, RS256, another)",
        "HS256 and no other",
        "test_tokens.py::test_any_other_token_is_refused_with_what_to_do_and_never_logged[HS512]",
        "palaver/hub/tokens.py",
        "algorithms=[ALGORITHM]",
        'algorithms=["HS256", "HS384", "HS512"]',
    ),
    Row(
        "use a token of another service",
        "audience and issuer",
        "test_tokens.py::test_any_other_token_is_refused_with_what_to_do_and_never_logged[other audience]",
        "palaver/hub/tokens.py",
        '"verify_iat": False}',
        '"verify_iat": False, "verify_aud": False}',
    ),
    Row(
        "use an old token",
        "its end",
        "test_tokens.py::test_any_other_token_is_refused_with_what_to_do_and_never_logged[expired]",
        "palaver/hub/tokens.py",
        '"verify_iat": False}',
        '"verify_iat": False, "verify_exp": False}',
    ),
    Row(
        "use a token before its time",
        "its beginning (`nbf`)",
        "test_tokens.py::test_any_other_token_is_refused_with_what_to_do_and_never_logged[not valid yet]",
        "palaver/hub/tokens.py",
        '"verify_iat": False}',
        '"verify_iat": False, "verify_nbf": False}',
    ),
    Row(
        "use a token that forgot to end",
        "an end is asked for, or `--expires never`",
        "test_tokens.py::test_any_other_token_is_refused_with_what_to_do_and_never_logged[no end]",
        "palaver/hub/tokens.py",
        "if claims.exp is None and not claims.forever:",
        "if False:",
    ),
    Row(
        "guess a weak signing secret",
        "secrets below 32 bytes are refused",
        "test_tokens.py::test_a_short_secret_is_refused_with_how_to_make_one",
        "palaver/hub/tokens.py",
        "if len(secret.encode()) < SHORTEST_SECRET:",
        "if False:",
    ),
    Row(
        "learn a shared secret from how long its comparison takes",
        "`hmac.compare_digest`, of all secrets each time",
        "test_tokens.py::test_shared_secrets_are_all_compared_in_constant_time",
        "palaver/hub/auth.py",
        'hmac.compare_digest(given, secret.encode(errors="surrogatepass"))',
        'given == secret.encode(errors="surrogatepass")',
    ),
    Row(
        "try secrets out",
        "joins a minute from one address, refused ones too",
        "test_limits.py::test_refused_joins_count_so_that_secrets_cannot_be_tried_out",
        "palaver/hub/limits.py",
        "        if not joins or self._is_exempt(address):",
        "        if True:",
    ),
    Row(
        "find a token in a log",
        "refusals are logged with address and reason, never with the token",
        "test_tokens.py::test_any_other_token_is_refused_with_what_to_do_and_never_logged[other secret]",
        "palaver/hub/server.py",
        'logger.warning("%s was not let in from %s: %s", where, connection.address, denied)',
        'logger.warning("%s was not let in from %s: %s", where, connection.address, join.token)',
    ),
    Row(
        "find a token in the frames that a library logs",
        "the library is kept to warnings",
        "test_tls.py::test_no_token_reaches_a_log_at_any_level",
        "palaver/cli/common.py",
        "logging.getLogger(chatty).setLevel(max(logging.getLevelName(level), logging.WARNING))",
        "logging.getLogger(chatty).setLevel(logging.DEBUG)",
    ),
    Row(
        "find a token in a URL, in histories and proxies' logs",
        "a URL with a token is refused",
        "test_tokens.py::test_a_token_in_the_url_is_told_to_be_in_the_wrong_place",
        "palaver/hub/pages.py",
        "if _TOKEN_IN_URL.search(request.path) else None",
        "if False else None",
    ),
    Row(
        "find a token in an answer",
        "the subprotocol with the token is never the chosen one",
        "test_tokens.py::test_a_token_may_stand_among_the_subprotocols_and_does_not_come_back",
        "palaver/hub/server.py",
        "return SUBPROTOCOL if SUBPROTOCOL in offered else None",
        "return offered[-1] if offered else None",
    ),
    Row(
        "listen in, or pose as the hub",
        "`wss://` with the hub's certificate; `--tls-ca` names whom to trust",
        "test_tls.py::test_a_client_joins_over_tls_where_it_trusts_the_certificate_and_only_there",
        "palaver/cli/common.py",
        "return ssl.create_default_context(cafile=arguments.tls_ca)",
        "return ssl._create_unverified_context()",
    ),
    Row(
        "listen in between a hub and its log's server, or pose as that server",
        "`tls://` with the server's certificate; `--log-tls-ca` names whom to trust",
        "test_log.py::test_a_server_is_trusted_by_its_authority_and_asks_for_a_certificate_of_ours",
        "palaver/hub/nats_access.py",
        "ssl.create_default_context(cafile=self.tls_ca)",
        "ssl._create_unverified_context(cafile=self.tls_ca)",
    ),
    Row(
        "say in that server's name that it speaks no TLS, and be told the password",
        "nothing is sent before TLS where it was asked for",
        "test_log.py::test_nothing_is_shown_to_a_server_without_tls_where_tls_is_asked_for",
        "palaver/hub/nats_access.py",
        'if not self._server_info.get("tls_required"):',
        "if False:",
    ),
    Row(
        "read the log's password off a hub's command line",
        "a `--log` with a password or token is refused; they come from the environment or a file",
        "test_log.py::test_a_secret_on_the_command_line_is_refused",
        "palaver/cli/shared_log.py",
        'if "@" in urlsplit(url.strip()).netloc:',
        "if False:",
    ),
    Row(
        "live on a certificate that is over",
        "a hub does not start with one",
        "test_tls.py::test_a_certificate_out_of_its_time_and_a_locked_key_are_refused",
        "palaver/hub/tls.py",
        "    _try_out(context, certificate)\n    return context",
        "    return context",
    ),
    Row(
        "open connections without end from one address",
        "`--max-connections`; a network of 64 bits is one address",
        "test_limits.py::test_more_connections_than_one_address_may_have_are_told_and_then_reset",
        "palaver/hub/limits.py",
        "if limit and not self._is_exempt(address) else 0",
        "if False else 0",
    ),
    Row(
        "hold connections half open, from everywhere (slowloris)",
        "`--max-unjoined`: further ones are reset, members stay",
        "test_limits.py::test_the_unjoined_are_bounded_in_all_and_members_stay",
        "palaver/hub/limits.py",
        "or 0 < self.limits.unjoined < self.unjoined:",
        "or False:",
    ),
    Row(
        "connect and say nothing",
        "`--join-time`",
        "test_limits.py::test_whoever_connects_and_says_nothing_is_closed",
        "palaver/hub/server.py",
        "asyncio.timeout(limit or None)",
        "asyncio.timeout(None)",
    ),
    Row(
        "read rooms and figures without a token",
        "`/rooms` and `/metrics` ask for one where the hub does",
        "test_web.py::test_rooms_and_metrics_are_for_those_with_a_token_where_one_is_asked",
        "palaver/hub/pages.py",
        'rights = auth.rights_of(token.strip() if scheme.lower() == "bearer" else None)',
        "rights = Rights()",
    ),
    Row(
        "guess tokens over HTTP",
        "`api.rate_limit`",
        "test_web.py::test_guessing_tokens_over_http_runs_into_the_rate",
        "palaver/api/door.py",
        "            self._limit.take(client)",
        "            pass",
    ),
)

MEMBER: Final = (
    Row(
        "join in another role",
        "the token's role",
        "test_tokens.py::test_a_token_opens_its_room_under_its_name_in_its_role_and_nothing_else",
        "palaver/hub/auth.py",
        "if join.role not in self.roles:",
        "if False:",
    ),
    Row(
        "join under another name",
        "the token's name",
        "test_tokens.py::test_a_token_opens_its_room_under_its_name_in_its_role_and_nothing_else",
        "palaver/hub/auth.py",
        "if self.name is not None and key_of(join.name) != key_of(self.name):",
        "if False:",
    ),
    Row(
        "join another room",
        "the token's rooms",
        "test_tokens.py::test_a_token_opens_its_room_under_its_name_in_its_role_and_nothing_else",
        "palaver/hub/auth.py",
        "if self.rooms is not None and room not in self.rooms:",
        "if False:",
    ),
    Row(
        "stay when the token has ended",
        "a sweep over the members closes the connection (4507)",
        "test_tokens.py::test_a_member_is_sent_away_when_its_token_ends_and_is_not_heard_after",
        "palaver/hub/hub.py",
        "                self._end_expired()",
        "                pass",
    ),
    Row(
        "go on talking while the connection closes",
        "nothing is heard of those who were sent away",
        "test_tokens.py::test_whoever_was_sent_away_is_not_heard_while_it_hangs_up",
        "palaver/hub/server.py",
        "if self._session.closed is not None:  # sent away",
        "if False:  # sent away",
    ),
    Row(
        "come back on an old admission",
        "a session that comes back is asked for its token again",
        "test_tokens.py::test_a_session_that_comes_back_is_asked_for_its_token_again",
        "palaver/hub/server.py",
        "rights = self._auth.rights_of(join.token)",
        "rights = Rights() if join.session else self._auth.rights_of(join.token)",
    ),
    Row(
        "speak as somebody else, as `system`, or send a hub's frame",
        "frames have no sender, and fields that are not known are refused",
        "test_members.py::test_nobody_speaks_as_somebody_else_or_as_the_hub",
        "palaver/core/protocol.py",
        "    forbid_unknown_fields=True,",
        "    forbid_unknown_fields=False,",
    ),
    Row(
        "pass its words off as written by a moderator in its name",
        "what `/sendas` leaves in `meta` is taken out of a member's",
        "test_members.py::test_only_the_hub_says_that_a_moderator_wrote_a_message",
        "palaver/hub/hub.py",
        "if key not in _OURS}",
        "}",
    ),
    Row(
        "give commands as a model, or talk as an observer",
        "roles",
        "test_members.py::test_only_moderators_steer_and_observers_say_nothing",
        "palaver/core/room.py",
        'if entry.role != "moderator":',
        "if False:",
    ),
    Row(
        "speak without the floor",
        "a grant is needed",
        "test_members.py::test_only_moderators_steer_and_observers_say_nothing",
        "palaver/core/room.py",
        'return notices.nack(state, frame.id, "no_floor", "wait for a grant before speaking")',
        "return None",
    ),
    Row(
        "take somebody's seat over",
        "only its own session can, a secret of 128 bits",
        "test_members.py::test_a_seat_is_taken_over_with_its_own_session_only",
        "palaver/core/seats.py",
        "if there is not None and there.session != entry.session:",
        "if False:",
    ),
    Row(
        "learn somebody's session",
        "nobody is told it: frames, pages, transcripts, HTTP",
        "test_members.py::test_nobody_is_told_another_ones_session",
        "palaver/core/views.py",
        "about=member.about",
        "about=member.session",
    ),
    Row(
        "read a whisper",
        "it goes to its reader and the moderators",
        "test_members.py::test_a_whisper_is_read_by_its_reader_and_the_moderators_only",
        "palaver/core/message.py",
        "return same_name(name, self.to) or same_name(name, self.sender)",
        "return True",
    ),
    Row(
        "look like a moderator: letters of another alphabet in a word",
        "one word has one alphabet",
        "test_members.py::test_a_word_in_two_alphabets_is_no_name",
        "palaver/core/lookalikes.py",
        "if len(found.intersection(_ALPHABETS)) > 1:",
        "if False:",
    ),
    Row(
        "look like somebody who is here: a whole word of another alphabet",
        "names that are drawn like a speaker's are refused",
        "test_members.py::test_whoever_looks_like_a_speaker_who_is_here_is_turned_away",
        "palaver/core/seats.py",
        "if (like := _looks_like(state, entry.name)) is not None:",
        "if (like := None) is not None:",
    ),
    Row(
        "bear a name that nobody can read: heaps of marks",
        "three marks on a letter, none without one",
        "test_members.py::test_huge_and_unreadable_names_are_refused",
        "palaver/core/lookalikes.py",
        "if marks > MOST_MARKS:",
        "if False:",
    ),
    Row(
        "bear a name that hides or reorders text",
        "no control, format or invisible characters",
        "tests/hub/test_server.py::test_names_that_could_deceive_are_refused",
        "palaver/core/names.py",
        'if any(unicodedata.category(character) in {"Cc", "Cf", "Co", "Cn", "Cs"} for character in tidy)',
        "if False",
    ),
    Row(
        "flood the room",
        "`--max-frame-rate`: refused with when to come again",
        "test_limits.py::test_messages_that_come_too_fast_are_refused_with_when_to_come_again",
        "palaver/hub/hub.py",
        "        if not wait:\n            return True",
        "        if True:\n            return True",
    ),
    Row(
        "go on flooding",
        "`--max-refusals` (close code 4508)",
        "test_limits.py::test_a_flood_ends_with_its_own_connection",
        "palaver/hub/hub.py",
        "if 0 < self.limits.refusals < pace.refused:",
        "if False:",
    ),
    Row(
        "send few but huge frames",
        "a frame has 256 KiB at most",
        "tests/hub/test_server.py::test_a_frame_above_the_limit_ends_only_its_own_connection",
        "palaver/hub/server.py",
        "max_size=MAX_FRAME",
        "max_size=None",
    ),
    Row(
        "send large frames at the full rate",
        "each 16 KiB count once more",
        "test_limits.py::test_large_frames_count_more",
        "palaver/hub/hub.py",
        "cost = 1.0 + size // PIECE",
        "cost = 1.0",
    ),
    Row(
        "open rooms without end",
        "`--max-rooms`",
        "test_limits.py::test_rooms_are_bounded",
        "palaver/hub/hub.py",
        "if len(self.rooms) + len(self._opening) >= self._max_rooms:",
        "if False:",
    ),
    Row(
        "make the hub keep a long past in memory",
        "`--history` has a bound",
        "test_limits.py::test_limits_are_flags_with_defaults_in_one_place",
        "palaver/cli/server.py",
        "whole(most=MOST_HISTORY)",
        "whole()",
    ),
)

TEXT: Final = (
    Row(
        "drive the moderator's terminal (title, clear screen, clipboard)",
        "control and escape sequences are taken out",
        "tests/participants/console/test_clean.py::test_what_could_drive_or_fool_a_terminal_is_taken_out",
        "palaver/participants/console/clean.py",
        'text = _SEQUENCES.sub("", text.replace("\\r\\n", "\\n").replace("\\r", "\\n"))',
        "return text",
    ),
    Row(
        "hide characters in words",
        "what is invisible is taken out; a joiner stays where emoji or a script need it",
        "tests/participants/console/test_clean.py::test_joiners_go_where_nobody_could_see_them",
        "palaver/participants/console/clean.py",
        'return _JOINER.sub(_joins, "".join(map(_harmless, text)))',
        'return "".join(map(_harmless, text))',
    ),
    Row(
        "go on at the margin, like another's line, with emoji that a terminal draws wider",
        "rows are broken for the terminal that draws most",
        "tests/participants/console/test_lines.py::test_no_terminal_takes_a_row_of_emoji_for_wider_than_itself",
        "palaver/participants/console/lines.py",
        "else _wrapped_widely",
        "else wcwidth.wrap",
    ),
    Row(
        "become markup or a script on the page",
        "words become text nodes; Trusted Types and a content policy",
        "tests/web/test_page.py::test_what_others_write_stays_text",
        "palaver/hub/web/view.js",
        "item.lastChild.textContent = redacted",
        "item.lastChild.innerHTML = redacted",
    ),
    Row(
        "write a chat template's control words into a prompt",
        "they are tokenised in two halves",
        "tests/models/test_engine_prompts.py::test_special_tokens_in_user_text_are_plain_text",
        "palaver/models/engine/prompts.py",
        '        text = text.replace(self._mark, "")\n        control',
        "        return text\n        control",
    ),
)

BROWSER: Final = (
    Row(
        "open a websocket from another site's page",
        "the `Origin` must be the hub's own, or listed",
        "tests/hub/test_pages.py::test_pages_of_others_may_not",
        "palaver/hub/pages.py",
        'if scheme not in ("http", "https") or not host or place != host:',
        "if False:",
    ),
    Row(
        "give its own name this machine's address (DNS rebinding)",
        "on a loopback address the hub is called by a loopback name",
        "tests/hub/test_pages.py::test_a_foreign_name_for_this_machine_is_not_trusted_on_loopback",
        "palaver/hub/pages.py",
        "    if not is_loopback(str(connection.local_address[0])) or is_loopback(_hostname(host)):",
        "    if True:",
    ),
    Row(
        "read rooms that way",
        "the same, for pages",
        "test_web.py::test_a_page_that_gives_its_name_this_machines_address_reads_no_rooms",
        "palaver/hub/pages.py",
        "if not auth.asks and not _is_called_rightly(connection, request, origins):",
        "if False:",
    ),
    Row(
        "call the API that way",
        "the same, for a server without a token",
        "tests/api/test_access.py::test_a_page_that_gives_its_name_this_machines_address_is_not_served",
        "palaver/api/access.py",
        "(is_loopback(client) and is_loopback(called))",
        "is_loopback(client)",
    ),
    Row(
        "read the API's answers from another site",
        "no other origin is allowed unless `api.cors_origins` lists it",
        "tests/api/test_access.py::test_pages_of_other_origins_are_not_let_in_unless_listed",
        "palaver/api/app.py",
        "    if cors_origins:",
        '    if cors_origins := cors_origins or ["*"]:',
    ),
    Row(
        "find the token in the browser's storage",
        "it is kept in the page's memory only",
        "tests/web/test_page.py::test_a_wrong_token_is_told_and_a_token_is_not_remembered",
        "palaver/hub/web/app.js",
        'const REMEMBERED = ["name", "room", "role"];',
        'const REMEMBERED = ["name", "room", "role", "token"];',
    ),
)

CALLER: Final = (
    Row(
        "steer as an observer",
        "a moderator's token steers and begins, others read",
        "test_web.py::test_over_http_a_moderator_steers_and_the_other_roles_read",
        "palaver/api/access.py",
        "if deed not in deeds_of(rights):",
        "if False:",
    ),
    Row(
        "read other conversations than one's own",
        "a conversation is a room of the token",
        "test_web.py::test_over_http_a_token_opens_its_rooms_only",
        "palaver/api/access.py",
        "            rights.check_room(room)",
        "            pass",
    ),
    Row(
        "read whispers",
        "shown to moderators",
        "test_web.py::test_whispers_are_shown_to_moderators_only_over_http",
        "palaver/api/routes/conversations.py",
        'if message.to is None or caller == "moderator"',
        "if True",
    ),
    Row(
        "listen on after the token's end",
        "the stream ends with it",
        "test_web.py::test_a_stream_of_events_ends_with_its_token",
        "palaver/api/routes/listening.py",
        "(left := rights.expires - time.time()) > 0",
        "(left := KEEP_ALIVE)",
    ),
    Row(
        "read secrets out of the configuration",
        "tokens, keys and headers are masked",
        "tests/config/test_schema.py::test_no_secret_is_shown",
        "palaver/config/masking.py",
        "return _SECRET.search(names[-1]) is not None",
        "return False",
    ),
)

MODERATOR: Final = (
    Row(
        "steer and deny it",
        "the audit log, also where the sender hangs up at once",
        "test_audit.py::test_a_command_whose_sender_hangs_up_at_once_is_kept",
        "palaver/hub/host.py",
        "                    self._note(entry, *[effect.frame for effect in effects if isinstance(effect, Reply)])",
        "                    pass",
    ),
    Row(
        "steer over HTTP and deny it",
        "the audit log names the caller",
        "test_audit.py::test_what_is_steered_over_http_is_kept_with_its_caller",
        "palaver/api/routes/conversations.py",
        '    service.note(rights, client, ident, command, "done")',
        "    return",
    ),
    Row(
        "read whispers in the audit log",
        "of a whisper the reader is kept, not the text",
        "test_audit.py::test_what_is_whispered_is_not_kept",
        "palaver/hub/audit.py",
        'return spec_of(text).verb == "w"',
        "return False",
    ),
    Row(
        "take sessions over from the audit log",
        "it holds hashes, and only its owner may read it",
        "test_audit.py::test_each_command_is_kept_with_who_when_where_and_what_came_of_it",
        "palaver/hub/audit.py",
        'return hashlib.sha256(session.encode(errors="surrogatepass")).hexdigest()[:16]',
        "return session",
    ),
)

SIDES: Final = {
    "On the network": NETWORK,
    "A member": MEMBER,
    "A model's or member's text": TEXT,
    "A web page in the moderator's browser": BROWSER,
    "A caller of the HTTP API": CALLER,
    "A moderator": MODERATOR,
}


def node_of(row: Row) -> str:
    """The row's test as pytest knows it."""
    return row.test if row.test.startswith("tests/") else f"tests/security/{row.test}"


def table() -> str:
    """The rows as the page shows them."""
    parts = []
    for side, rows in SIDES.items():
        lines = [f"| {row.attempt} | {row.held_by} | `{row.test.partition('[')[0]}` |" for row in rows]
        parts.append("\n".join([f"### {side}", "", "| tries to | held by | test |", "|---|---|---|", *lines]))
    return "\n\n".join(parts)


def filled(text: str) -> str:
    """The page with its table made anew."""
    before, marker, rest = text.partition("<!-- rows -->\n")
    return before + marker + table() + "\n" + rest[rest.index("<!-- end -->") :]


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
