"""Convert other trainers' launch scripts and configs to specs."""
