"""What helps a person write a spec."""
