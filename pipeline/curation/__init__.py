"""Chooses samples (near-duplicates, outliers, clusters) and copies them into new shards."""
