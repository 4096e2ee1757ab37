"""Runs side by side: scores, agreement, settings that differ, and rivals on the same embeddings."""
