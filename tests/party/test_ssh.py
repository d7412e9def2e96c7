"""Parties that reach to another machine, over a real sshd."""

import shlex
import sys

import psutil
import pytest

from tests.party.machines import free_port, machine
from tests.party.parties import PARTY, Home, until

pytestmark = pytest.mark.system


def party(home: Home, config: str, port: int) -> str:
    far = f"{{name: Far, host: box, tunnel: {port}, dir: {home.folder}, python: {sys.executable}, backend: scripted, "
    far += "model: ada.txt, env: {FAR_API_KEY: '${FAR_API_KEY:-}'}}"
    return home.write(f"{PARTY}  - {far}\nssh_options: [-F, {config}]\n")


@pytest.mark.parametrize("backend", ["procs", "tmux"])
def test_a_client_elsewhere_outlives_its_connection_and_down_leaves_nothing_there(home: Home, backend: str) -> None:
    """Also: no secret on a command line here or there, and its end is told here."""
    secrets = {"PALAVER_TOKEN": "tok-5f1e", "FAR_API_KEY": "sk-90c2"}
    with machine(home) as box:
        up = home.palaver("up", party(home, str(box.config), free_port()), "--backend", backend, "--detach", **secrets)
        assert up.returncode == 0, up.stdout + up.stderr
        assert "Far: ready" in up.stdout
        far = home.named("Far")
        assert far.environ()["FAR_API_KEY"] == "sk-90c2"
        lines = " ".join(" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))
        assert "tmux new-session" in lines
        assert not any(secret in lines for secret in secrets.values())

        box.cut()
        until(lambda: "no connection to box; again in 2 s" in home.palaver("logs", "Far").stdout)
        until(lambda: home.status(**secrets)["Far"].endswith("  ready"))
        assert far.is_running()

        far.kill()
        until(lambda: "ended with 137" in home.status(**secrets)["Far"])
        assert home.palaver("restart", "Far").returncode == 0
        until(lambda: home.status(**secrets)["Far"].endswith("  ready"))
        down = home.palaver("down")
        assert (down.returncode, down.stdout) == (0, "party test is down; no process is left behind\n")
        until(lambda: not ours(home), 5)
        assert not list((box.folder / "state/palaver").iterdir())


def ours(home: Home) -> list[str]:
    """What still runs of the party, on either machine; the sshd is the test's."""
    return [shlex.join(each.info["cmdline"]) for each in home.living() if not each.info["name"].startswith("sshd")]


def test_a_machine_that_cannot_be_reached_is_told_and_the_rest_taken_down(home: Home) -> None:
    with machine(home) as box:
        box.stop()
        up = home.palaver("up", party(home, str(box.config), free_port()))
    assert up.returncode == 1
    assert "Far cannot be started on box: ssh: connect to host 127.0.0.1 port" in up.stdout
    assert "it failed: party test is taken down\nno process is left behind\n" in up.stdout
    assert ours(home) == []
    assert home.palaver("down").stdout == "no party is up; start one: palaver up party.yaml\n"


def test_down_says_what_it_cannot_reach_and_ends_it_once_it_can(home: Home) -> None:
    with machine(home) as box:
        up = home.palaver("up", party(home, str(box.config), free_port()), "--backend", "procs", "--detach")
        assert up.returncode == 0, up.stdout + up.stderr
        box.stop()
        down = home.palaver("down")
        assert down.returncode == 1
        assert "Far may still run on box, which cannot be reached: ssh: connect to host" in down.stderr
        assert f"palaver down test tries again; rm -r {home.folder}/state/palaver/test forgets" in down.stderr
        assert home.named("Far").is_running()
        assert [line for line in ours(home) if "Bob" in line] == []
        box.start()
        assert home.palaver("down").returncode == 0
        until(lambda: not ours(home), 5)


def test_what_fails_elsewhere_is_told_in_its_own_words(home: Home) -> None:
    with machine(home) as box:
        party(home, str(box.config), free_port())
        text = (home.folder / "party.yaml").read_text().replace("model: ada.txt, env", "model: nowhere.txt, env")
        up = home.palaver("up", home.write(text), "--backend", "tmux")
        assert up.returncode == 1
        assert "Far ended with 2:" in up.stdout
        assert "error: --backend scripted: --model 'nowhere.txt' must be a file with a reply on each line" in up.stdout
        until(lambda: not ours(home), 5)
