"""The client of a rig: limits, safe state, logs and self-check around its hardware."""
