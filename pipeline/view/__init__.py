"""All that reads a run: queries, searchers, hits, labels, evaluation, images."""
