"""Processes that cvbundle starts: how, how long they live, and how they ended."""
