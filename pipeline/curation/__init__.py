"""Choosing samples: near-duplicates, outliers, and new shards of what is chosen."""
