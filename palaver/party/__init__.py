"""A party: the processes of one YAML file, started, watched and stopped together, on this machine and others.

`schema` and `doors` read the file, `plan` makes processes of it, `scripts` makes shell of those; `procs`, `tmux` and
`ssh` run them, `state` remembers them, `watch` sees who is ready. `palaver.cli` hands in parsers and the environment.
"""
