"""From a spec to a bundle."""
