"""Clients that show trials to a subject: the session loop, transports, adapters."""
