"""DiffRect (MICCAI 2024): start reading with `method`, whose updates show one iteration."""
