"""What other tools open: a run as their files and folders."""
