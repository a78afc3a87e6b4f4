"""Simulated subjects: learners as pure functions, and how they respond."""
