"""The attacks: poison with its ground truth, to test detectors and defences on."""
