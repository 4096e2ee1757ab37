"""Modules that read a run: facts, columns, keys, queries, searchers, labels, evaluation, images."""
