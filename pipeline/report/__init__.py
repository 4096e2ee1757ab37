"""The report: a run drawn as one HTML file."""
