"""A hub in the manner of LLM Party Chat: registers a name, stamps each message, awaits one send after the other."""

import asyncio
import json
from datetime import datetime
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

members: dict[ServerConnection, str] = {}
history: list[dict[str, Any]] = []


async def attend(connection: ServerConnection) -> None:
    """One member: its registration is the first frame, everything after it is said to the others."""
    name = json.loads(await connection.recv())["name"]
    if any(taken == name for taken in members.values()):
        return
    members[connection] = name
    try:
        async for frame in connection:
            await tell_others(connection, name, json.loads(frame))
    except ConnectionClosed:
        pass
    finally:
        members.pop(connection, None)


async def tell_others(author: ServerConnection, name: str, message: dict[str, Any]) -> None:
    """Stamps the message and sends it to everybody but its author, one member after the other."""
    message.setdefault("from", name)
    message["timestamp"] = datetime.now().isoformat()
    history.append(message)
    text = json.dumps(message)
    for member in list(members):
        if member is not author:
            try:
                await member.send(text)
            except ConnectionClosed:
                members.pop(member, None)


async def main() -> None:
    """Serves until the process is ended."""
    async with serve(attend, "127.0.0.1", 0, compression=None) as server:
        print(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
