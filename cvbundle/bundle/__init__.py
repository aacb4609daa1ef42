"""Bundles: what is in one, how it is made, checked and run."""
