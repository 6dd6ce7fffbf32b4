"""Backups of the whole cluster, and their restoration."""
