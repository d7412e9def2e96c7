"""Parties of processes without a terminal, as a user starts and ends them."""

import re
import signal
import socket

import psutil
import pytest

from palaver.hub.tokens import SignedTokens
from tests.party.parties import PARTY, Home, until
from tests.security.certificates import certificate

pytestmark = pytest.mark.system

STUBBORN = """\
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("stubborn", flush=True)
time.sleep(600)
"""


def test_a_party_comes_up_is_seen_restarted_and_taken_down_from_any_shell(home: Home) -> None:
    up = home.palaver("up", home.write(), "--detach")
    assert up.returncode == 0, up.stdout + up.stderr
    assert re.search(r"hub: ws://127\.0\.0\.1:\d+ .*page: http://", up.stdout)
    assert "Ada: ready" in up.stdout
    assert "all 2 ready after" in up.stdout

    rows = home.status()
    assert list(rows) == ["hub", "Ada", "Bob"]
    assert all("  runs  " in row for row in rows.values())
    assert rows["Ada"].endswith("  ready")

    again = home.palaver("up", "party.yaml")
    assert again.returncode == 2
    assert "party 'test' is up already: palaver attach test" in again.stderr

    before = home.named("Ada").pid
    assert home.palaver("restart", "ada").returncode == 0
    until(lambda: home.status()["Ada"].endswith("  ready"))
    assert home.named("Ada").pid != before
    assert "joined 'main'" in home.palaver("logs", "Ada").stdout

    home.named("Bob").send_signal(signal.SIGKILL)
    until(lambda: "ended with 137" in home.status()["Bob"])
    assert home.palaver("status", "test").returncode == 1

    down = home.palaver("down", "party.yaml")
    assert (down.returncode, down.stdout) == (0, "party test is down; no process is left behind\n")
    assert home.living() == []
    assert not list(home.folder.glob("state/palaver/*"))
    again = home.palaver("down", "party.yaml")
    assert (again.returncode, again.stdout) == (0, "party 'test' is not up\n")


def test_no_secret_stands_on_a_command_line_or_where_others_can_read(home: Home) -> None:
    text = PARTY + "  - {name: Eve, backend: scripted, model: ada.txt, env: {SOME_API_KEY: '${SOME_API_KEY}'}}\n"
    """Under a signing secret: each has a token of its own, and what opens more stays with the hub."""
    secrets = {"PALAVER_SECRET": "sec-" * 8, "PALAVER_MODERATOR_TOKEN": "mod-77aa", "SOME_API_KEY": "sk-90c2"}
    up = home.palaver("up", home.write(text), "--detach", **secrets)
    assert up.returncode == 0, up.stdout + up.stderr
    assert home.named("Eve").environ()["SOME_API_KEY"] == "sk-90c2"
    assert not {"PALAVER_MODERATOR_TOKEN", "PALAVER_SECRET"} & set(home.named("Eve").environ())
    secrets["signed"] = home.named("Eve").environ()["PALAVER_TOKEN"]
    assert SignedTokens("sec-" * 8).rights_of(secrets["signed"]).name == "Eve"
    lines = " ".join(" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))
    state = home.folder / "state/palaver/test"
    assert state.stat().st_mode & 0o077 == 0
    assert home.status(**secrets)["Eve"].endswith("  ready")
    told = up.stdout + home.palaver("status", **secrets).stdout + (state / "party.json").read_text()
    told += "".join(log.read_text() for log in home.folder.glob("logs/test/*.log"))
    for secret in secrets.values():
        assert secret not in lines
        assert secret not in told
        for script in state.glob("*.sh"):
            assert script.stat().st_mode & 0o077 == 0
    home.palaver("down")
    assert not state.exists()


def test_what_fails_is_told_in_its_own_words_and_with_keep_the_others_are_left_up(home: Home) -> None:
    up = home.palaver("up", home.write(PARTY + "  - {name: Eve, prompt_file: nowhere.txt}\n"), "--keep")
    assert up.returncode == 1
    assert "Eve ended with 2:\n  error: --prompt-file nowhere.txt: cannot be read" in up.stdout
    assert "the others are left up (--keep): palaver status test" in up.stdout
    assert "  runs  " in home.status()["hub"]
    assert home.palaver("down").returncode == 0
    assert home.living() == []


def test_a_port_in_use_is_told_by_the_hub_itself_and_nobody_joins_the_other_one(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        up = home.palaver("up", home.write(PARTY.replace("port: 0", f"port: {port}")))
    assert up.returncode == 1
    assert f"hub ended with 2:\n  error: cannot listen on 127.0.0.1:{port}: " in up.stdout
    assert "it failed: party test is taken down\nno process is left behind" in up.stdout
    assert "Ada" not in up.stdout
    assert home.living() == []


def test_what_cannot_be_planned_ends_with_two_and_a_line(home: Home) -> None:
    up = home.palaver("up", home.write("clinets: []"))
    assert (up.returncode, up.stdout) == (2, "")
    assert up.stderr == "error: party.yaml, line 1: clinets: unknown key; do you mean clients?\n"
    assert home.palaver("up", "nowhere.yaml").returncode == 2


def test_in_the_foreground_ctrl_c_takes_everything_down(home: Home) -> None:
    with home.started("up", home.write()) as up:
        assert up.stdout is not None
        for line in up.stdout:
            if "Ctrl-C ends the party" in line:
                break
        up.send_signal(signal.SIGINT)
        assert "stopped: party test is taken down\nno process is left behind" in up.stdout.read()
        assert up.wait(30) == 0
    assert home.living() == []


def test_down_ends_what_outlived_a_killed_up_and_what_ignores_sigterm(home: Home) -> None:
    stubborn = home.folder / "stubborn.py"
    stubborn.write_text(STUBBORN)
    python = home.folder / "python"
    python.write_text(f'#!/bin/sh\nsleep 500 &\nexec "{psutil.Process().exe()}" "{stubborn}"\n')
    python.chmod(0o755)
    text = PARTY + f"  - {{name: Eve, python: {python}}}\n"
    with home.started("up", home.write(text)) as up:
        log = home.folder / "logs/test/eve.log"
        until(lambda: log.exists() and "stubborn" in log.read_text())
        up.kill()
        up.wait()
    assert len(home.living()) > 5
    down = home.palaver("down")
    assert (down.returncode, down.stdout) == (0, "party test is down; no process is left behind\n")
    assert home.living() == []


def test_simulated_users_without_a_moderator_end_the_party_when_they_are_done(home: Home) -> None:
    """All of it over TLS, under a certificate that only `tls_ca` makes known."""
    pair = certificate(home.folder)
    text = PARTY.replace("port: 0", f"port: 0, tls_cert: {pair.certificate}, tls_key: {pair.key}")
    text += "user_sims: [{name: User, backend: scripted, model: bob.txt, max_turns: 2, record: r.jsonl}]\n"
    up = home.palaver("up", home.write(text.replace("backend: scripted", "tls_ca: hub.pem, backend: scripted")))
    assert "hub: wss://127.0.0.1:" in up.stdout
    assert up.returncode == 0, up.stdout
    assert "User is done\nit is over: party test is taken down\nno process is left behind\n" in up.stdout
    assert (home.folder / "r.jsonl").exists()
    assert home.living() == []


def test_of_two_who_start_it_at_once_one_does_and_the_other_is_told(home: Home) -> None:
    home.write(PARTY)
    with home.started("up", "party.yaml", "--detach") as first, home.started("up", "party.yaml", "--detach") as second:
        told = sorted((each.wait(60), each.stdout.read() if each.stdout else "") for each in (first, second))
    assert [code for code, _ in told] == [0, 2]
    assert "party 'test' is up already" in told[1][1]
    assert home.palaver("down").returncode == 0
    assert home.living() == []


def test_a_hub_that_dies_ends_the_party_with_its_last_words(home: Home) -> None:
    with home.started("up", home.write()) as up:
        assert up.stdout is not None
        for line in up.stdout:
            if "Ctrl-C ends the party" in line:
                break
        home.named("server").kill()
        told = up.stdout.read()
        assert up.wait(30) == 1
    assert "hub ended with 137:" in told
    assert "it is over: party test is taken down" in told
    assert home.living() == []


def test_a_file_of_personas_that_cannot_be_used_is_told_before_anything_is_started(home: Home) -> None:
    text = PARTY + "  - {name: Eve, personas: %s}\n"
    (home.folder / "crowd.yaml").write_text("- {nam: Eve}\n")
    for file, told in {"none.yaml": "cannot be read", "crowd.yaml": "seat 0, name: Field required"}.items():
        up = home.palaver("up", home.write(text % file), "--detach")
        assert (up.returncode, up.stdout) == (2, "")
        assert up.stderr.startswith("error: party.yaml, line 6: clients[2].personas: ")
        assert f"{file}: {told}" in up.stderr
