"""Recorded conversations again: the same turns from the record, or another way from one of them on."""
