"""The training loop, where it runs, what it reports, and how it stops."""
