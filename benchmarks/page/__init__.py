"""How large a report is, how long it takes to build, and to open in a browser."""
