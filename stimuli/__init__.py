"""Stimulus spaces: where stimuli come from, how they are shown, and their geometry."""
