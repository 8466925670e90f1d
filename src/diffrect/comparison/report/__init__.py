"""Tables and plots of a comparison, from the files of its finished cells."""
