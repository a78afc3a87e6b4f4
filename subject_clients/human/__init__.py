"""The client for humans: sessions in a PsychoPy window."""
