"""The checkpoints of a training: which are the best, what they hold, and how they are written."""
