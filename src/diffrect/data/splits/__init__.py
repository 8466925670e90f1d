"""The parts of a split: how it is drawn, whose labels are used, and what a user is told of it."""
