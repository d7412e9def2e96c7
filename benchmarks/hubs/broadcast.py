"""The bare hub on `websockets.broadcast`: whatever anybody says goes to everybody, nothing is parsed or kept."""

import asyncio

from websockets.asyncio.server import ServerConnection, broadcast, serve

members: set[ServerConnection] = set()


async def attend(connection: ServerConnection) -> None:
    """One member, from the handshake to the end of its connection."""
    members.add(connection)
    try:
        async for message in connection:
            broadcast(members, message)
    finally:
        members.discard(connection)


async def main() -> None:
    """Serves until the process is ended."""
    async with serve(attend, "127.0.0.1", 0, compression=None) as server:
        print(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
