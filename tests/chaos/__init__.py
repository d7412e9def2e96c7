"""Faults on purpose: a proxy that tears at connections, a party that talks through it, and what must hold after."""
