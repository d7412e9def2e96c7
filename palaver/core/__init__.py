"""The rules: no asyncio, no socket, no clock, no model."""
