"""Curation: near-duplicates, outliers, and new shards of selected samples."""
