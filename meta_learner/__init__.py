"""The search for labellings that a subject finds easy to generalise."""
