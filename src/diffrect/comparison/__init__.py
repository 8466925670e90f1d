"""Methods side by side: a matrix of trainings, and tables and plots of their scores."""
