"""Benchmarks: each prints a table of all rivals, and one JSON line last; `--tiny` takes seconds."""
