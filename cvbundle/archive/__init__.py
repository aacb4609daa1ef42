"""Bundles as one file, signed, and on remote stores."""
