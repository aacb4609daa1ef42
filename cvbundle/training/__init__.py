"""The trainer: what a bundle's `launch.sh` runs. The only place that imports torch."""
