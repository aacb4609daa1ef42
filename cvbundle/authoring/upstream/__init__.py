"""Specs from other trainers' scripts and configs."""
