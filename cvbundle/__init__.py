"""Compile CogVideoX fine-tuning settings into immutable, reproducible bundles."""

__version__ = "0.1.0"
