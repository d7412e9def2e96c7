"""Ask a conversation server how it is: `python examples/check_health.py [--url http://127.0.0.1:8000]`.

Exit code 0 where it runs, 1 where it does not. `PALAVER_TOKEN` is sent where it is set. Nothing is generated.
"""

import argparse
import json
import os
import sys
import urllib.error
import urllib.request
from typing import Any


def main() -> int:
    flags = argparse.ArgumentParser(description="Ask a conversation server how it is.")
    flags.add_argument("--url", default="http://127.0.0.1:8000", help="the server (default: %(default)s)")
    arguments = flags.parse_args()
    try:
        health = get(f"{arguments.url}/health")
        models = get(f"{arguments.url}/models")
    except (urllib.error.URLError, ValueError, TimeoutError) as error:
        print(f"{arguments.url} does not answer as it should: {error}", file=sys.stderr)
        return 1
    print(f"{health['status']}: palaver {health['version']}, hub {health['hub']}, {health['running']} running")
    for ident, model in models.items():
        state = {True: "healthy", False: f"failed: {model['last_error']}", None: "not used yet"}[model["healthy"]]
        print(f"  {ident} ({model['type']}): {state}")
    return 0 if health["status"] == "healthy" else 1


def get(url: str) -> Any:
    """The JSON at `url`; proxies of the environment are left aside."""
    request = urllib.request.Request(url)
    if token := os.environ.get("PALAVER_TOKEN"):
        request.add_header("Authorization", f"Bearer {token}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        return json.load(answer)


if __name__ == "__main__":
    sys.exit(main())
