"""What Python hands out of a run: objects that show themselves in Jupyter."""
