"""What a trusted reference promises: alarms on clean data, what is found, and whether a dirty reference is noticed."""
