"""Methods side by side: a matrix of trainings, and tables and plots of what they reach."""
