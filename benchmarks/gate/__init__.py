"""The gate: how long it takes to check that a verdict still holds."""
