"""How fast `LLMClient` gets many prompts answered, and whether it keeps anything of those that are done.

2,000 prompts against a stub of an OpenAI endpoint in a process of its own that answers after 50 ms, 100 at a time.
The ideal is what the delay alone allows: 2,000 a second. The bar is 80 % of it, and memory that does not grow.

    python benchmarks/client.py [--prompts 2000] [--concurrency 100] [--latency 0.05] [--runs 3] [--uvloop] [--json]
"""

import argparse
import asyncio
import gc
import importlib
import json
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from palaver import LLMClient

ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def stub(latency: float) -> Iterator[str]:
    """The stub as a process; gives its base URL."""
    command = [sys.executable, "-m", "tests.stubs.openai_stub", "--latency", str(latency)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"{process.stdout.readline().strip()}/v1"
        finally:
            process.terminate()


def prompts(count: int) -> Iterator[str]:
    """So many different prompts."""
    return (f"Say something about the number {number}." for number in range(count))


async def rate(client: LLMClient, count: int) -> tuple[float, float]:
    """Prompts a second, and milliseconds of processor time a prompt."""
    gc.collect()
    started, worked = time.perf_counter(), time.process_time()
    responses = await client.process_prompts_async(list(prompts(count)), show_progress=False)
    took, work = time.perf_counter() - started, time.process_time() - worked
    failed = [response.error_message for response in responses if response.is_error]
    if failed:
        raise SystemExit(f"{len(failed)} of {count} prompts failed: {failed[0]}")
    return count / took, 1000 * work / count


async def bytes_kept(client: LLMClient, count: int) -> float:
    """Bytes that stay allocated for each finished prompt, when their responses are not kept by the caller."""
    tracemalloc.start()  # before the first round: what each connection keeps of its last answer is replaced by the next
    for _ in range(2):
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        async for _ in client.iter_prompts_async(prompts(count)):
            pass
    gc.collect()
    kept = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return kept / count


async def measure(url: str, options: argparse.Namespace) -> dict[str, float]:
    """The best of several runs: what else this machine does is not the client's."""
    client = LLMClient("stub-model", base_url=url, max_concurrent_requests=options.concurrency)
    await rate(client, options.concurrency)
    runs = [await rate(client, options.prompts) for _ in range(options.runs)]
    best, work = max(runs)
    return {
        "prompts_per_second": round(best),
        "ratio_of_ideal": round(best * options.latency / options.concurrency, 3),
        "worst_ratio": round(min(runs)[0] * options.latency / options.concurrency, 3),
        "cpu_ms_per_prompt": round(work, 3),
        "bytes_kept_per_prompt": round(await bytes_kept(client, options.prompts), 1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--prompts", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=100)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds before the stub answers")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--uvloop", action="store_true", help="on uvloop instead of asyncio's own loop")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    options = parser.parse_args()
    with stub(options.latency) as url:
        run = importlib.import_module("uvloop").run if options.uvloop else asyncio.run
        figures = run(measure(url, options))
    if options.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:24} {value:>10}")


if __name__ == "__main__":
    main()
