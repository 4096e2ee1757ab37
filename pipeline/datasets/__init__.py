"""Data sets of research: read through torchvision, and written as tar shards."""
