"""Labels that are given, corrected by the rectifier of a training."""
