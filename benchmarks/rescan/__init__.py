"""Scanning again: what the store saves, as shares of the first scan."""
