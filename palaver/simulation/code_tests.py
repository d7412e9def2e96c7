"""Running Python that a model wrote against tests: a process of its own with limits. It is no sandbox.

The process has no environment, an empty folder to work in, and limits on seconds, memory and file size, so that a
loop without end or a greedy list hurts nobody. It can still read files and open connections.
"""

import asyncio
import contextlib
import os
import re
import secrets
import signal
import sys
import tempfile
from typing import Final

_FENCE = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL | re.IGNORECASE)
_FILE_BYTES: Final = 1 << 20
_LIMITS: Final = """
try:
    import resource
except ImportError:
    pass
else:
    resource.setrlimit(resource.RLIMIT_CPU, ({seconds}, {seconds}))
    resource.setrlimit(resource.RLIMIT_AS, ({memory}, {memory}))
    resource.setrlimit(resource.RLIMIT_FSIZE, ({file}, {file}))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    del resource
"""


def python_in(text: str) -> str | None:
    """The last fenced block of code in `text`."""
    blocks: list[str] = _FENCE.findall(text)
    return blocks[-1] if blocks else None


async def passes(code: str, test: str, *, seconds: float, megabytes: int) -> bool:
    """Whether `code` followed by `test` runs to its end without an error."""
    with tempfile.TemporaryDirectory(prefix="palaver-test-") as folder:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=folder,
            env={},
            start_new_session=True,
        )
        # Only the last line leaves with this code: a program that ends early by `sys.exit(0)` has passed nothing.
        passed = 64 + secrets.randbelow(128)
        limits = _LIMITS.format(seconds=int(seconds) + 1, memory=megabytes << 20, file=_FILE_BYTES)
        program = f"{limits}\n{code}\n\n{test}\n\n__import__('os')._exit({passed})\n"
        try:
            async with asyncio.timeout(seconds):
                await process.communicate(program.encode())
        except TimeoutError:
            return False
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                _kill_all(process.pid)
            await process.wait()
        return process.returncode == passed


def _kill_all(pid: int) -> None:
    """The process and whatever it has started."""
    if hasattr(os, "killpg"):
        os.killpg(pid, signal.SIGKILL)
    else:
        os.kill(pid, signal.SIGTERM)
