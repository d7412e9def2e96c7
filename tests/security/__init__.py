"""What docs/security.md promises, row by row."""
