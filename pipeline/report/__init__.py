"""A run as one static page: gathered from the store, drawn, and written as HTML."""
