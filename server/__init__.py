"""The experiment server: protocol, session, study, journal, application."""
