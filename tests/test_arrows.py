"""The house's arrows: which part may import which, and what a hub or a console never loads."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "palaver"

ALLOWED = {
    "core": {"core"},
    "hub": {"core", "hub", "tracing"},
    "models": {"core", "models"},
    "records": {"core", "records"},
    "participants": {"core", "models", "records", "participants", "tracing"},
    "replay": {"core", "models", "participants", "replay"},
    "simulation": {"core", "models", "participants", "simulation"},
    "evaluation": {"core", "models", "records", "simulation", "evaluation"},
    "completion": {"core", "models"},
    "config": {"core", "config"},
    "party": {"core", "hub", "participants", "config", "crew", "party"},
    "plugins": {"core"},
    "tracing": set(),
    "otel": {"core", "tracing"},
}
"""Parts of the package and what each may import of it; those that are not listed put objects together and may all."""

NEVER_IN_CORE = {"asyncio", "socket", "ssl", "select", "threading", "subprocess", "random", "secrets", "uuid", "time"}
NEVER_IN_CORE |= {"os", "sys", "pathlib", "logging", "tempfile", "shutil", "multiprocessing", "signal"}
CLOCKS = {"now", "utcnow", "today"}
HEAVY = ("torch", "transformers", "openai", "httpx2", "aiohttp")
LIGHT = ("palaver", "palaver.cli.server", "palaver.cli.moderator", "palaver.hub.server", "palaver.participants.console")


def modules(part: str = "") -> list[Path]:
    """The source files of a part of the package."""
    folder = PACKAGE / part
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Every module that a file imports, also within functions, with the line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: say where it comes from, not 'from {'.' * node.level}'"
            if node.module == "palaver":
                yield from ((node.lineno, f"palaver.{name.name}") for name in node.names)
            else:
                yield node.lineno, str(node.module)


def part_of(module: str) -> str:
    """`hub` of `palaver.hub.server`; empty for others and for `palaver` itself."""
    root, _, rest = module.partition(".")
    part = rest.split(".")[0]
    there = (PACKAGE / part).is_dir() or (PACKAGE / f"{part}.py").exists()
    return part if root == "palaver" and part and there else ""


@pytest.mark.parametrize("part", sorted(ALLOWED))
def test_imports_point_down(part: str) -> None:
    """Also: hub and participants meet in core only, and nobody but cli, api and party reads config or plugins."""
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {module}: {part} may only import {', '.join(sorted(ALLOWED[part]))}"
        for path in modules(part)
        for line, module in imports(path)
        if part_of(module) and part_of(module) not in ALLOWED[part]
    ]
    assert not wrong, "\n".join(wrong)


def test_every_part_of_the_house_is_known() -> None:
    """A new part says here what it may import, or that it puts objects together."""
    parts = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    composing = {"__init__", "__main__", "cli", "api", "crew", "scenes"}
    assert parts <= set(ALLOWED) | composing, f"unknown parts: {sorted(parts - set(ALLOWED) - composing)}"


def test_only_those_who_put_objects_together_read_config_and_plugins() -> None:
    readers = {
        path.relative_to(PACKAGE).parts[0]
        for path in modules()
        for _, module in imports(path)
        if part_of(module) in ("config", "plugins") and part_of(module) != path.relative_to(PACKAGE).parts[0]
    }
    assert readers <= {"cli", "api", "party"}, f"{sorted(readers)} import config or plugins: hand objects in"


def test_core_imports_msgspec_and_plain_standard_modules_only() -> None:
    wrong = []
    for path in modules("core"):
        for line, module in imports(path):
            first = module.split(".")[0]
            if first in ("palaver", "msgspec"):
                continue
            if first not in sys.stdlib_module_names or first in NEVER_IN_CORE:
                wrong.append(
                    f"{path.relative_to(ROOT)}:{line} imports {module}: hand time, ids and chance in as values"
                )
    assert not wrong, "\n".join(wrong)


def test_core_reads_no_clock_no_file_and_no_terminal() -> None:
    wrong = []
    for path in modules("core"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                if name in CLOCKS | {"open", "print", "input"}:
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} calls {name}(): core only computes")
            if isinstance(node, ast.AsyncFunctionDef | ast.Await):
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} waits: core only computes")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("module", LIGHT)
def test_a_hub_and_a_console_load_no_model_library(module: str) -> None:
    """A2.19"""
    program = f"import sys, {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert run.returncode == 0, run.stderr
    assert not run.stdout.strip(), (
        f"import {module} loads {run.stdout.strip()}: import it in the function that needs it"
    )
