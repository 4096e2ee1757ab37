"""A run as pages and a JSON API: opened once, read by many, never written to."""
