"""Code of the user's own: files that `--plugin` names, and which names may be imported at all."""
