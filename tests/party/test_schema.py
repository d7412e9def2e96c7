"""What a party file may say, and how it is told where it says something else."""

import pytest

from tests.party.plans import planned, refused

WRONG = {
    "clinets: []": "party.yaml, line 1: clinets: unknown key; do you mean clients?",
    "room: a\nroom: b": "line 2: room: duplicate key; it stands in line 1 already",
    "clients:\n  - prompt_file: sage.txt": "party.yaml, line 2: clients[0].name: is missing",
    "clients:\n  - name: A\n    replicas: 0": "party.yaml, line 3: clients[0].replicas: input should be greater",
    "clients:\n  - name: A\n    tunnel: maybe": "tunnel: must be true, false or a port, not 'maybe'",
    "server:\n  policy: round_robbin": "line 2: server.policy: invalid choice: 'round_robbin' (choose from",
    "server:\n  prot: 1": "line 2: server.prot: unknown key, and no flag of server; do you mean port?",
    "clients:\n  - name: A\n    promt_file: x": "clients[0].promt_file: unknown key, and no flag of client; do you",
    "clients:\n  - name: A\n    replica: 2": "clients[0].replica: unknown key, and no flag of client; do you",
    "clients:\n  - name: A\n    delay: -1": "line 3: clients[0].delay: -1 is not within 0 to 1000000",
    "clients:\n  - name: A\n    seed: ten": "line 3: clients[0].seed: invalid int value: 'ten'",
    "clients:\n  - name: A\n    seed: [1, 2]": "line 3: clients[0].seed: takes one value, not [1, 2]",
    "clients:\n  - name: A\n    compile: 1": "line 3: clients[0].compile: must be true or false, not 1",
    "clients:\n  - name: A\n    token: x": "clients[0].token: a token stands in no file and on no command line",
    "clients:\n  - name: system": "line 2: clients[0].name: name 'system' is reserved; choose another",
    "clients: [{name: A}, {name: a}]": "name 'a' is given twice; each needs a name of its own",
    "clients: [{name: A, personas: {B: x}}, {name: B}]": "name 'B' is given twice",
    "moderator: maybe": "line 1: moderator: must be true, false or settings, not 'maybe'",
    "moderator:\n  hid_messages: true": "moderator.hid_messages: unknown key, and no flag of moderator; do you mean",
    "name: a/b": "party.yaml, line 1: name: must have 1 to 40 letters, digits, dashes and underscores, and begin",
    "room: a b": "party.yaml, line 1: room: room 'a b' must have 1 to 64 letters",
    "clients:\n  - {name: A, room: a b}": "line 2: clients[0].room: room 'a b' must have 1 to 64 letters",
    "server: {port: 99999}": "line 1: server.port: 99999 is not within 0 to 65535",
    "server: {url: 'http://h:1'}": "line 1: server.url: 'http://h:1' is no websocket URL (scheme isn't ws or wss)",
    "server: {url: 'ws://h:99999'}": "server.url: 'ws://h:99999' is no websocket URL (Port out of range 0-65535)",
    "server: {url: 'ws://a,ws://b'}": "server.url: is one hub; members take several with a `server` of their own",
    "clients:\n  - {name: A, server: 'ws://a,b'}": "line 2: clients[0].server: 'b' is no websocket URL",
    "clients:\n  - {name: A, tunnel: true}": "clients[0].tunnel: leads to another machine; say which with host",
    "clients:\n  - {name: A, host: -oProxyCommand=x}": "clients[0].host: must be a machine as ssh knows it, not '-oP",
    "clients:\n  - {name: A, env: {A B: 1}}": "line 2: clients[0].env: 'A B' cannot be a variable",
    "server: 5": "line 1: server: must be settings, `key: value`, not 5",
    "server: {url: 'ws://h:1', port: 2}": "server.port: is a flag of a hub, and with server.url none is started",
    "models: {a: {}}\napi: {}": "party.yaml is a conversation server's config: python -m palaver.api -c party.yaml",
    "- a": "party.yaml, line 1: a config is `key: value` lines, not a list",
    "clients: [{name: A, host: box}]": "clients[0].host: the hub listens on 127.0.0.1, which box cannot reach; say",
    "server: {host: 0.0.0.0}\nclients: [{name: A, host: box}]": "box reaches the hub: server: ws://ADDRESS:8765",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_cannot_be_is_told_with_key_and_line(text: str) -> None:
    assert WRONG[text] in refused(text)


def test_everything_that_is_wrong_is_told_at_once_a_line_each() -> None:
    told = refused("server: {policy: x}\nclients:\n  - {name: A, delay: -1}\n  - {name: B, delya: 1}\n")
    assert [line.partition(":")[0] for line in told.splitlines()] == [f"party.yaml, line {n}" for n in (1, 3, 4)]


def test_a_file_without_a_word_is_a_hub_and_a_heading_alone_says_nothing() -> None:
    for text in ("", "clients:\nmoderator:\n", "moderator: false"):
        assert [process.name for process in planned(text).processes] == ["hub"]


def test_a_secret_s_variable_may_fill_no_flag() -> None:
    text = "clients:\n  - name: A\n    proxy: http://me:${PROXY_PASSWORD}@box\n    env: {KEY: '${API_KEY}'}\n"
    told = refused(text, {"PROXY_PASSWORD": "hush", "API_KEY": "hush"})
    assert told.splitlines() == [told]
    assert "line 3: clients[0].proxy: ${PROXY_PASSWORD} would stand on a command line" in told
    assert "hush" not in told
