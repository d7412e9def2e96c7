"""The shell that runs a process: the script that carries its environment, the ssh around it, and what `print` shows.

A script is kept in a file that only its owner can read, so no secret ever stands on a command line.
"""

import shlex
from typing import Final
from urllib.parse import urlsplit

from palaver.party.process import Plan, Process

_HEAD: Final = """\
#!/bin/sh
# {name} of the party {party}, written by `palaver up`; `palaver down` takes it away.
me=$(cd "$(dirname "$0")" && pwd)/{slug}
{exports}
{{ cat "/proc/$$/stat" || ps -o pid=,lstart= -p $$; }} >"$me.pid" 2>/dev/null
rm -f "$me.exit"
told=
trap 'told=yes' HUP INT TERM
{body}
code=$?
echo $code >"$me.exit"
exit $code
"""
"""The shell stays behind to keep the exit code; signals go to the whole group, so it need only outlive them."""
_HOME: Final = 'd="${XDG_STATE_HOME:-$HOME/.local/state}/palaver/%s"'
"""Where scripts lie on another machine."""
_LASTING: Final = """\
while :; do
  {ssh}
  code=$?
  [ $code -eq 255 ] && [ -z "$told" ] || break
  echo "palaver: no connection to {host}; again in 2 s. What runs there goes on."
  sleep 2
done
(exit $code)"""
"""ssh itself ends with 255 where the connection is lost; anything else comes from over there."""
_RECEIVE: Final = """\
command -v tmux >/dev/null || {{ echo "tmux is not installed" >&2; exit 127; }}
{home}; umask 077; mkdir -p "$d"; rm -f "$d/{slug}".*; cat >"$d/{slug}.sh\""""
_ON_SCREEN: Final = """\
{home}; \
tmux new-session -A -s {session} sh "$d/{slug}.sh" \\; set-option status off \\; \
pipe-pane "exec cat >>\\"$d/{slug}.log\\""; \
tmux has-session -t ={session} 2>/dev/null && exit 255; \
tail -n 12 "$d/{slug}.log"; exit $(cat "$d/{slug}.exit")"""
_ON_PIPE: Final = """\
{home}; from=0; [ -e "$d/{slug}.seen" ] || from=+1; \
: >>"$d/{slug}.log"; : >"$d/{slug}.seen"; \
tmux has-session -t ={session} 2>/dev/null || tmux new-session -d -x 200 -y 50 -s {session} sh "$d/{slug}.sh" \\; \
pipe-pane "exec cat >>\\"$d/{slug}.log\\""; \
tail -n $from -f "$d/{slug}.log" & while tmux has-session -t ={session} 2>/dev/null; do sleep 0.5; done; \
sleep 0.5; kill $!; exit $(cat "$d/{slug}.exit")"""
_STOP: Final = """\
{home}
f="$d/{slug}"
pid=$(tmux list-panes -t ={session} -F "#{{pane_pid}}" 2>/dev/null)
if [ -z "$pid" ] && read -r old rest 2>/dev/null <"$f.pid"; then
  [ "$(cut -d ' ' -f 22 "$f.pid")" = "$(cut -d ' ' -f 22 "/proc/$old/stat" 2>/dev/null)" ] && pid=$old
fi
if [ -n "$pid" ] && kill -s TERM -- "-$pid" 2>/dev/null; then
  n=0
  while [ $n -lt 50 ] && kill -s 0 -- "-$pid" 2>/dev/null; do n=$((n + 1)); sleep 0.1; done
  kill -s KILL -- "-$pid" 2>/dev/null
fi
tmux kill-session -t ={session} 2>/dev/null
rm -f {files}
rmdir "$d" 2>/dev/null
exit 0
"""


_ALONE: Final = ("-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3")


def session(plan: Plan, process: Process) -> str:
    """The tmux session of a process on another machine."""
    return f"palaver-{plan.name}-{process.slug}"


def script(plan: Plan, process: Process, body: str, exports: dict[str, str]) -> str:
    """A file for `sh` that runs `body` and notes its process id and exit code beside itself."""
    lines = "\n".join(f"export {name}={word}" for name, word in exports.items())
    return _HEAD.format(name=process.name, party=plan.name, slug=process.slug, exports=lines, body=body)


def for_here(plan: Plan, process: Process, *, terminal: bool) -> str:
    """What this machine runs: the process itself, or the ssh that carries it."""
    exports = {name: shlex.quote(value) for name, value in process.env.items()}
    if not process.host:
        return script(plan, process, _program(process), exports)
    ssh = shlex.join(joining(plan, process, terminal=terminal))
    body = _LASTING.format(ssh=ssh, host=shlex.quote(process.host))
    return script(plan, process, body, {})


def for_a_terminal(process: Process) -> str:
    """For whoever sits at a terminal: the process itself takes the shell's place, and nobody keeps account of it."""
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in process.env.items())
    return f"{exports}cd {shlex.quote(process.folder)} && exec {shlex.join(process.argv)}\n"


def for_there(plan: Plan, process: Process) -> str:
    """What another machine runs; sent to it over ssh's standard input."""
    exports = {name: shlex.quote(value) for name, value in {"PYTHONUNBUFFERED": "1", **process.env}.items()}
    return script(plan, process, _program(process), exports)


def _program(process: Process) -> str:
    command = shlex.join(process.argv)
    return f"cd {shlex.quote(process.folder)} && {command}" if process.folder else command


# --- ssh -------------------------------------------------------------------------------------------------------------


def ssh(plan: Plan, process: Process, *flags: str) -> list[str]:
    """`ssh … HOST`, to be followed by what is to be run there."""
    return ["ssh", *_ALONE, *plan.ssh_options, *flags, process.host]


def joining(plan: Plan, process: Process, *, terminal: bool) -> list[str]:
    """Runs the script that lies over there in a tmux session of its own, or joins it where it runs already."""
    forward = []
    if process.tunnel is not None:
        there, here = process.tunnel
        called = urlsplit(plan.url).hostname or ""
        hub = f"[{called}]" if ":" in called else called
        forward = ["-o", "ExitOnForwardFailure=yes", "-R", f"{there}:{hub}:{here}"]
    text = _filled(_ON_SCREEN if terminal else _ON_PIPE, plan, process)
    return [*ssh(plan, process, "-t" if terminal else "-T", *forward), in_sh(text)]


def receiving(plan: Plan, process: Process) -> list[str]:
    """Takes a script from standard input and lays it down over there."""
    return [*ssh(plan, process), in_sh(_filled(_RECEIVE, plan, process))]


def stopping(plan: Plan, process: Process, *, for_good: bool) -> tuple[list[str], str]:
    """A command, and what it reads: ends the process over there, kills it after 5 s, takes its files away.

    Unless it is `for_good` the script stays.
    """
    files = '"$f".*' if for_good else '"$f.seen" "$f.log" "$f.exit" "$f.pid"'
    return [*ssh(plan, process), "sh -s"], _filled(_STOP, plan, process, files=files)


def in_sh(text: str) -> str:
    """`text` for whichever shell somebody logs in with."""
    return f"exec sh -c {shlex.quote(text)}"


def _filled(text: str, plan: Plan, process: Process, **more: str) -> str:
    return text.format(home=_HOME % plan.name, slug=process.slug, session=session(plan, process), **more)


# --- for people ------------------------------------------------------------------------------------------------------


def shown(plan: Plan, folder: str) -> str:
    """What to type for the same party, each command in a terminal of its own; secrets stay names of variables."""
    lines = [
        f"# Party {plan.name}: {len(plan.processes)} processes. Give each command a terminal of its own, in order."
    ]
    for process in plan.processes:
        lines += ["", f"# {process.name}", *(_there(plan, process) if process.host else [_here(process, folder)])]
    return "\n".join(lines)


def _here(process: Process, folder: str) -> str:
    settings = "".join(f"{name}={word} " for name, word in process.shown.items())
    command = f"{settings}{shlex.join(process.argv)}"
    return command if process.folder == folder else f"(cd {shlex.quote(process.folder)} && {command})"


def _there(plan: Plan, process: Process) -> list[str]:
    """The script goes over in a here-document, in which the shell fills in the variables."""
    kept = {name: f"\0{number}\0" for number, name in enumerate(process.shown)}
    text = script(plan, process, _program(process), {"PYTHONUNBUFFERED": "1", **kept})
    text = _as_it_stands(text)
    for name, mark in kept.items():
        word = process.shown[name]
        text = text.replace(mark, f"'{word[1:-1]}'" if word.startswith('"') else _as_it_stands(word))
    forms = [shlex.join(receiving(plan, process)), shlex.join(joining(plan, process, terminal=True))]
    return [f"{forms[0]} <<PALAVER", f"{text}PALAVER", forms[1]]


def _as_it_stands(text: str) -> str:
    """Text of a here-document in which nothing is filled in."""
    return text.replace("\\", "\\\\").replace("$", "\\$").replace("`", "\\`")
