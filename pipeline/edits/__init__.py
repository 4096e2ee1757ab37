"""Decisions about clusters and images: logged, carried to other clusters, sealed."""
