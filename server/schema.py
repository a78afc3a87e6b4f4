"""The tables of a database: the events, and what is looked up beside them."""

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)

VERSION = 1
"""Of these tables; ``penchant db migrate`` brings an older database up to it."""

metadata = MetaData()

version_table = Table(
    "schema_version", metadata, Column("version", Integer, primary_key=True)
)

events = Table(
    "events",
    metadata,
    Column("study", String, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("at", Float, nullable=False),
    Column("kind", String, nullable=False),
    Column("payload", JSON, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", String, primary_key=True),
    Column("sha256", String, nullable=False, unique=True),
    Column("role", String, nullable=False),
    Column("study", String),
    Column("subject", String),
    Column("rig", String),
    Column("label", String, nullable=False, default=""),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("revoked_at", Float),
)
"""Secrets that let a client in, hashed; ``study``, ``subject``, ``rig`` narrow them."""

secrets = Table(
    "secrets",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)
"""What the server itself keeps secret: the key that signs participants' links."""

rewards = Table(
    "rewards",
    metadata,
    Column("study", String, primary_key=True),
    Column("session", String, primary_key=True),
    Column("uid", String, primary_key=True),
    Column("at", Float, nullable=False),
    Column("subject", String, nullable=False),
    Column("rig", String, nullable=False),
    Column("microlitre", Float, nullable=False),
    Column("how", String, nullable=False),
    Column("granted", Boolean, nullable=False),
    Index("rewards_of_a_day", "subject", "at"),
)
"""Every reward of live studies, for the ledger of a subject's day across rigs."""

weights = Table(
    "weights",
    metadata,
    Column("study", String, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("at", Float, nullable=False),
    Column("subject", String, nullable=False, index=True),
    Column("grams", Float, nullable=False),
    Column("baseline_grams", Float),
)
"""What subjects weighed."""

holds = Table(
    "holds",
    metadata,
    Column("kind", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("study", String, nullable=False),
    Column("session", String, nullable=False),
)
"""The live session that each subject and each rig is in, over all studies."""
