"""The training methods: one file per method, `base` for what they share, `registry` by name."""
