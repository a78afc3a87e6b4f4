"""The figures of Dorrell et al. 2023, each by one command, with null and diagnostic."""
