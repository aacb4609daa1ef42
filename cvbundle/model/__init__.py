"""The base models: what they are, what they hold, and which bytes exactly."""
