"""Another machine for tests: a real sshd on loopback, with its own home for state and tmux."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.party.parties import Home, until

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"


def needs_ssh() -> None:
    """Skip where ssh, sshd or tmux is missing; in CI that is an error."""
    lacks = [package for tool, package in (("ssh", "openssh-client"), ("tmux", "tmux")) if shutil.which(tool) is None]
    lacks += [] if Path(SSHD).exists() else ["openssh-server"]
    if lacks:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"needs ssh: apt-get install {' '.join(lacks)}")


class Machine:
    """The machine `box`, which `ssh -F config` reaches."""

    def __init__(self, home: Home, folder: Path) -> None:
        self.folder = folder
        self.port = _free_port()
        self.config = folder / "ssh_config"
        self._sshd: subprocess.Popen[bytes] | None = None
        for name in ("host_key", "user_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
        (folder / "authorized_keys").write_bytes((folder / "user_key.pub").read_bytes())
        (folder / "tmux").mkdir()
        handed = {
            "XDG_STATE_HOME": folder / "state",
            "TMUX_TMPDIR": folder / "tmux",
            "PYTHONPATH": home.environ["PYTHONPATH"],
        }
        handed["PALAVER_TEST_HOME"] = home.folder
        (folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nPasswordAuthentication no\n"
            f"SetEnv {' '.join(f'{name}={value}' for name, value in handed.items())}\n"
        )
        self.config.write_text(
            f"Host box\n  HostName 127.0.0.1\n  Port {self.port}\n  User {getpass.getuser()}\n  BatchMode yes\n"
            f"  IdentityFile {folder}/user_key\n  IdentitiesOnly yes\n  StrictHostKeyChecking no\n"
            f"  UserKnownHostsFile {folder}/known_hosts\n  LogLevel ERROR\n"
        )

    def start(self) -> None:
        """Let ssh in."""
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        command = [SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config")]
        with (self.folder / "sshd.log").open("ab") as log:
            self._sshd = subprocess.Popen(command, stderr=log, start_new_session=True)
        until(self._answers)

    def _answers(self) -> bool:
        assert self._sshd is not None
        assert self._sshd.poll() is None, (self.folder / "sshd.log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def cut(self) -> None:
        """Break all connections."""
        assert self._sshd is not None
        for each in psutil.Process(self._sshd.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if each.name().startswith("sshd"):
                    each.kill()

    def stop(self) -> None:
        """Let nobody in any more; those who are in stay."""
        if self._sshd is not None:
            self._sshd.kill()
            self._sshd.wait()


@contextmanager
def machine(home: Home) -> Iterator[Machine]:
    """A machine while the block lasts."""
    needs_ssh()
    folder = home.folder / "box"
    folder.mkdir()
    box = Machine(home, folder)
    box.start()
    try:
        yield box
    finally:
        box.stop()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


free_port = _free_port
