"""The order in which unlabelled patients are worth annotating."""
