"""Objects of a run that show themselves in Jupyter."""
