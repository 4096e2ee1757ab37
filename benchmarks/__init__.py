"""Benchmarks: each prints one table, rivals side by side in one run, and one JSON line last."""
