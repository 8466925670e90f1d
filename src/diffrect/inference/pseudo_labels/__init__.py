"""The labels that a training gives to scans without labels, before and after their correction."""
