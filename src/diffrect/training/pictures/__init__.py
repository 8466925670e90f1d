"""Pictures of a training for those who watch it: validation slices and corrected pseudo-labels."""
