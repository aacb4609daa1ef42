"""Compile CogVideoX fine-tuning settings into immutable, reproducible bundles."""
