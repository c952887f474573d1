"""Where training loops meet the gate: thin wrappers, each for one library that the user has installed."""
