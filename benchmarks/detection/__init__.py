"""Detection power: poison a real set, scan it as a user would, and only then look at the truth."""
