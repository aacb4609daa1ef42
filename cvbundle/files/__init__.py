"""Writing files whole, locks, digests, templates and the cache's place."""
