"""How a training process, its launcher and `launch.sh` end."""

DONE = 0
FAILED = 3
INTERRUPTED = 130
