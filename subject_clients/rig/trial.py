"""Temporary: for files under way."""

from subject_clients.tasks.trial import *  # noqa: F403
