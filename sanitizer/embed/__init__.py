"""From samples to spaces: networks that turn images into evidence."""
