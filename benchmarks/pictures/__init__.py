"""The pictures in the README, made from CC0 photographs by the tool itself."""
