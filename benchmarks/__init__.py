"""Measurements that are too long for tests; nothing imports them."""
