"""What the hook is made of: the table of what was found, the columns it reads, and what an image is there."""
