"""Files of strangers, made up by a fuzzer: `python -m tests.fuzz TARGET SECONDS`."""
