"""Running, verifying and reproducing bundles."""
