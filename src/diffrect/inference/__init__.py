"""From a trained model and scans to labels."""
