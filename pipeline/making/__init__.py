"""Makes artifacts: the plan of a command, jobs, sources, engines, progress."""
