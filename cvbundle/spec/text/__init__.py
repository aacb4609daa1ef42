"""A spec's text: read into plain data in which every value and key has its place."""
