"""What `inspect` shows on the screen."""
