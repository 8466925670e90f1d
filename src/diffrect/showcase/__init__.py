"""The demo: synthetic hearts, two trainings, and a page that compares them."""
