"""Equal tuning of every method, on patients that no table reports."""
