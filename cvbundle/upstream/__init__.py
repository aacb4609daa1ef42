"""What other trainers' launch scripts and configs mean, as a spec."""
