"""Does the poison work: every attack against victims trained on the files as written, beside an unpoisoned control."""
