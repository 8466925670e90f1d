"""The command line: `main` runs a command, `parsing` reads arguments, the rest are commands."""
