"""Verdicts and victims, held against the truth: the only room where both meet."""
