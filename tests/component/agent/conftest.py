"""Agents in jobs, and a hub that they report to."""

from __future__ import annotations

from rigs.batch.agent import served, start
