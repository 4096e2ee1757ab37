"""What people decide about clusters and images: logged, carried to other clusters, sealed."""
