"""The spec: its fields, its text, and how one becomes the other."""
