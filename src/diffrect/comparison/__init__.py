"""Methods side by side: a matrix of trainings, and the tables and plots of what they reached."""
