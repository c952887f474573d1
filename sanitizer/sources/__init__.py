"""Where samples come from, and the only room that opens untrusted bytes."""
