"""Scans with labels over them in a browser: collected, served on this machine, or in one page."""
