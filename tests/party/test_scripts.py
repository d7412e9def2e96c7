"""The shell that a party is made of, run by a shell."""

import os
import subprocess
from pathlib import Path

import msgspec
import pytest

from palaver.party import scripts
from palaver.party.process import Plan, Process
from tests.party.plans import planned

NASTY = 'it\'s "quoted" $HOME `id` \\ \n#{session_name} %H;'


def run(text: str, folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    script = folder / "it.sh"
    script.write_text(text)
    return subprocess.run(
        ["sh", str(script)], env={**os.environ, **environ}, capture_output=True, text=True, check=False
    )


def process(**changes: object) -> tuple[Plan, Process]:
    base = Process(name="It", slug="it", door="client", argv=("printenv", "KEY"), folder="/")
    one = msgspec.structs.replace(base, **changes)
    return Plan(name="p", url="ws://127.0.0.1:1", room="main", processes=(one,)), one


def test_a_script_hands_on_any_value_and_notes_its_process_and_its_end(tmp_path: Path) -> None:
    done = run(scripts.for_here(*process(env={"KEY": NASTY}), terminal=False), tmp_path)
    assert (done.returncode, done.stdout) == (0, f"{NASTY}\n")
    assert (tmp_path / "it.exit").read_text() == "0\n"
    assert int((tmp_path / "it.pid").read_text().split()[0]) > 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"argv": ("sh", "-c", "exit 7")}, 7), ({"folder": "/no/where"}, 2), ({"argv": ("no-such",)}, 127)],
)
def test_its_exit_code_is_that_of_the_program_or_says_that_there_is_none(
    tmp_path: Path, changes: dict[str, object], code: int
) -> None:
    assert run(scripts.for_here(*process(**changes), terminal=False), tmp_path).returncode == code
    assert (tmp_path / "it.exit").read_text() == f"{code}\n"


def test_what_is_shown_runs_as_it_stands_and_names_variables_instead_of_secrets(tmp_path: Path) -> None:
    environ = {"PALAVER_TOKEN": "tok-1", "THE_KEY": "sk-1", "PALAVER_MODERATOR_TOKEN": "mod-1"}
    env = "{API_KEY: '${THE_KEY}', B: 'x ${NO:-$5}', C_TOKEN: lit}"
    text = f"clients:\n  - {{name: It's A, env: {env}, dir: /}}\nmoderator: true"
    shown = scripts.shown(planned(text, environ), "/here")
    assert not any(secret in shown for secret in (*environ.values(), "lit"))
    assert 'PALAVER_TOKEN="$PALAVER_MODERATOR_TOKEN" py -m palaver moderator' in shown
    (tmp_path / "py").write_text('#!/bin/sh\necho "$PWD|$*|$API_KEY|$B|$C_TOKEN|$PALAVER_TOKEN"\n')
    (tmp_path / "py").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    lines = run(shown, tmp_path, PATH=path, C_TOKEN="kept", **environ).stdout.splitlines()
    assert [line.split("|")[-1] for line in lines] == ["tok-1", "tok-1", "mod-1"]
    assert lines[1] == "/|-m palaver client --name It's A --server ws://127.0.0.1:8765 --room main|sk-1|x $5|kept|tok-1"


def test_what_is_shown_for_another_machine_carries_the_token_through_ssh_s_input(tmp_path: Path) -> None:
    environ = {"PALAVER_TOKEN": "tok-1"}
    made = planned("clients:\n  - {name: A, host: box, tunnel: true, env: {B: '$5 `id`'}}", environ)
    shown = scripts.shown(made, "/here")
    assert "tok-1" not in shown
    (tmp_path / "ssh").write_text(
        f'#!/bin/sh\nfor last; do :; done\ncase "$*" in *" -t "*) ;; *) cat >{tmp_path}/sent;; esac\n'
    )
    (tmp_path / "ssh").chmod(0o755)
    (tmp_path / "py").write_text("#!/bin/sh\n")
    (tmp_path / "py").chmod(0o755)
    run(shown, tmp_path, PATH=f"{tmp_path}:{os.environ['PATH']}", **environ)
    sent = (tmp_path / "sent").read_text()
    (tmp_path / "python3").write_text('#!/bin/sh\necho "$PALAVER_TOKEN|$B"\n')
    (tmp_path / "python3").chmod(0o755)
    done = run(sent, tmp_path, PATH=f"{tmp_path}:{os.environ['PATH']}", PALAVER_TOKEN="other")
    assert (done.returncode, done.stdout) == (0, "tok-1|$5 `id`\n")
