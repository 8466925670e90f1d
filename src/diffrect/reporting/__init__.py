"""Pages to look at: HTML in one file that needs no network."""
