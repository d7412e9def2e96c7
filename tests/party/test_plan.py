"""From a party file to its processes."""

import shlex
from collections.abc import Sequence

import pytest

from palaver.party.process import Seat
from palaver.party.scripts import joining
from tests.party.plans import only, planned, refused


def test_processes_come_in_order_hub_first_and_moderator_last() -> None:
    made = planned("moderator: true\nuser_sims: [{name: U}]\nclients: [{name: A}, {name: B}]")
    assert [(each.name, each.door) for each in made.processes] == [
        ("hub", "server"),
        ("A", "client"),
        ("B", "client"),
        ("U", "user-sim"),
        ("Moderator", "moderator"),
    ]
    assert [each.console for each in made.processes] == [False] * 4 + [True]


def test_every_key_is_a_flag_of_its_door() -> None:
    made = planned(
        "room: salon\nserver: {port: 9000, policy: mention, no_transcripts: true, insecure: false, "
        "origin: ['https://a', 'http://b']}\n"
        "clients: [{name: Zen Sage, model: tiny, temperature: 0, initial_prompt: -x, trust_remote_code: true}]\n"
        "moderator: {name: Ada, hide_messages: true}"
    )
    shown = [shlex.join(each.argv).removeprefix("py -m palaver ") for each in made.processes]
    assert shown == [
        "server --port 9000 --policy mention --no-transcripts --origin https://a --origin http://b",
        "client --name 'Zen Sage' --model tiny --temperature 0 --initial-prompt=-x --trust-remote-code "
        "--server ws://127.0.0.1:9000 --room salon",
        "moderator --name Ada --hide-messages --server ws://127.0.0.1:9000 --room salon",
    ]


def test_personas_are_seats_that_are_waited_for_too() -> None:
    process = only("clients: [{name: A, room: salon, personas: {B: b.txt, C: c.txt}}]")
    assert process.seats == (Seat("salon", "A"), Seat("salon", "B"), Seat("salon", "C"))
    assert shlex.join(process.argv).count("--persona") == 2
    assert "--persona B:b.txt" in shlex.join(process.argv)


def test_replicas_have_names_rooms_and_seeds_of_their_own() -> None:
    made = planned("clients: [{name: A, replicas: 3, seed: 5, room: 'talk-{n}', personas: {B: x}}]")
    shown = [shlex.join(each.argv) for each in made.processes[1:]]
    for number, line in enumerate(shown, 1):
        assert f"--name 'A {number}' --seed {number + 4} --room talk-{number} --persona 'B {number}:x'" in line
    assert [each.slug for each in made.processes] == ["hub", "a-1", "a-2", "a-3"]


def test_names_that_look_alike_as_files_do_not_share_one() -> None:
    made = planned("clients: [{name: A B}, {name: A-B}, {name: 哲学家}, {name: 科学家}]")
    slugs = [each.slug for each in made.processes]
    assert len(set(slugs)) == 5
    assert all(slug.isascii() for slug in slugs)


def test_a_free_port_is_taken_where_the_file_says_zero() -> None:
    made = planned("server: {port: 0}\nclients: [{name: A}]")
    assert made.url == "ws://127.0.0.1:4711"
    assert "--port 4711" in shlex.join(made.processes[0].argv)


@pytest.mark.parametrize(
    ("listens", "called"),
    [("0.0.0.0", "127.0.0.1"), ("'::'", "[::1]"), ("10.0.0.7", "10.0.0.7"), ("localhost", "localhost")],
)
def test_members_call_the_hub_where_it_listens(listens: str, called: str) -> None:
    assert planned(f"server: {{host: {listens}}}").url == f"ws://{called}:8765"


def test_where_the_hub_listens_is_not_where_it_runs() -> None:
    """`host` of a client is another machine, `server.host` an address of this one."""
    hub, far = planned(
        "server: {host: 0.0.0.0}\nclients: [{name: A, host: box, server: 'ws://10.0.0.7:8765'}]"
    ).processes
    assert (hub.host, far.host) == ("", "box")
    assert shlex.join(hub.argv) == "py -m palaver server --host 0.0.0.0"


def test_a_hub_that_runs_elsewhere_is_joined_and_not_started() -> None:
    made = planned("server: {url: 'wss://hub.example'}\nclients: [{name: A, host: box}]")
    assert [each.name for each in made.processes] == ["A"]
    assert "--server wss://hub.example" in shlex.join(made.processes[0].argv)


def test_a_client_elsewhere_starts_where_one_logs_in_and_comes_through_a_tunnel_of_its_own() -> None:
    a, b, c = planned(
        "clients:\n  - {name: A, host: box, tunnel: true, dir: palaver, python: .venv/bin/python}\n"
        "  - {name: B, host: box, tunnel: true}\n  - {name: C, host: other, tunnel: 9999}"
    ).processes[1:]
    assert (a.host, a.folder, a.argv[0], a.tunnel) == ("box", "palaver", ".venv/bin/python", (8765, 8765))
    assert (b.folder, b.argv[0], b.tunnel) == ("", "python3", (8766, 8765))
    assert c.tunnel == (9999, 8765)
    assert "--server ws://127.0.0.1:8766" in shlex.join(b.argv)


@pytest.mark.parametrize(
    ("server", "forward"),
    [
        ("url: 'ws://127.0.0.1:9000'", "9000:127.0.0.1:9000"),
        ("url: 'wss://hub.example'", "443:hub.example:443"),
        ("host: '::1'", "8765:[::1]:8765"),
        ("host: 0.0.0.0, port: 9000", "9000:127.0.0.1:9000"),
    ],
)
def test_a_tunnel_leads_to_the_hub_wherever_it_is(server: str, forward: str) -> None:
    made = planned(f"server: {{{server}}}\nclients: [{{name: A, host: box, tunnel: true}}]")
    ssh = joining(made, made.processes[-1], terminal=True)
    assert ssh[ssh.index("-R") + 1] == forward


SECRETS = {
    "PALAVER_TOKEN": "for-all",
    "PALAVER_MODERATOR_TOKEN": "for-few",
    "OPENAI_API_KEY": "sk",
    "TMUX": "x",
    "A=": "",
}


def test_everybody_gets_the_secrets_that_are_meant_for_them_and_none_as_an_argument() -> None:
    text = "clients: [{name: A}, {name: B, host: box, tunnel: true, env: {KEY: '${OPENAI_API_KEY}'}}]\nmoderator: true"
    hub, here, there, moderator = planned(text, SECRETS).processes
    assert (hub.env["PALAVER_TOKEN"], hub.env["PALAVER_MODERATOR_TOKEN"]) == ("for-all", "for-few")
    assert here.env == {"PALAVER_TOKEN": "for-all", "OPENAI_API_KEY": "sk", "PYTHONUNBUFFERED": "1"}
    assert there.env == {"PALAVER_TOKEN": "for-all", "KEY": "sk"}
    assert moderator.env["PALAVER_TOKEN"] == "for-few"
    words = {word for each in (hub, here, there, moderator) for word in each.argv}
    assert not words & set(SECRETS.values())


@pytest.mark.parametrize(
    ("key", "url", "instead"),
    [
        ("api_base", "https://me:hush@llm.example/v1", "OPENAI_BASE_URL"),
        ("api_base", "https://llm.example/v1?api-version=1&api_key=hush", "OPENAI_BASE_URL"),
        ("proxy", "http://me:${PW}@proxy.example:3128", "PALAVER_PROXY"),
        ("server", "wss://me:hush@hub.example", "PALAVER_TOKEN"),
    ],
)
def test_a_url_with_a_password_is_refused_for_the_variable_that_takes_it(key: str, url: str, instead: str) -> None:
    told = refused(f"clients:\n- name: A\n  {key}: {url}\n", {"PW": "hush"})
    assert told.startswith(f"party.yaml, line 3: clients[0].{key}: holds a password or a key")
    assert instead in told and "hush" not in told
    assert planned(f"clients: [{{name: A, {key}: 'wss://hub.example/at?api-version=1'}}]")


def test_a_shared_logs_password_is_refused_before_the_hub_would() -> None:
    assert "set PALAVER_LOG" in refused("server: {log: 'nats://a.example,nats://me:hush@b.example'}")


def test_a_file_of_personas_has_all_the_seats_of_its_process() -> None:
    text = "clients: [{name: A, personas: crowd.yaml}, {name: B, host: box, tunnel: true, personas: crowd.yaml}]"
    here, there = planned(text, names_in=lambda folder, file: ["X", "Y"]).processes[1:]
    assert here.seats == (Seat("main", "X"), Seat("main", "Y"))
    assert there.seats == ()
    assert "--name" not in here.argv
    assert "--personas crowd.yaml" in shlex.join(here.argv)


def test_under_a_signing_secret_everybody_gets_a_token_of_their_own_and_nobody_but_the_hub_the_secret() -> None:
    text = (
        "clients: [{name: A, personas: {B: x}}, {name: C, host: box, tunnel: true}, {name: D, env: {PALAVER_TOKEN: o}}]"
    )
    environ = {"PALAVER_SECRET": "s" * 32, "PALAVER_TOKEN": "for-all"}
    signed = []

    def sign(role: str, seats: Sequence[Seat]) -> str:
        signed.append((role, [seat.name for seat in seats]))
        return f"signed-{len(signed)}"

    hub, *members = planned(f"{text}\nmoderator: true", environ, sign=sign).processes
    assert hub.env["PALAVER_SECRET"] == "s" * 32
    assert [each.env["PALAVER_TOKEN"] for each in members] == ["signed-1", "signed-2", "o", "signed-3"]
    assert signed == [("model", ["A", "B"]), ("model", ["C"]), ("moderator", ["Moderator"])]
    assert not any("PALAVER_SECRET" in each.env for each in members)
    assert members[1].shown["PALAVER_TOKEN"] == '"$(py -m palaver token --role model --name C --room main)"'
