"""All that reads a run: facts, columns, keys, queries, searchers, labels, evaluation, images."""
