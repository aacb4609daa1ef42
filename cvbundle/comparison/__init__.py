"""Differences, listings and descriptions of bundles."""
