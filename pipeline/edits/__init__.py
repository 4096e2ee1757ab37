"""Records people's decisions about clusters and images in a log, and seals them."""
