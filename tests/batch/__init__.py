"""Batches on executors of other makes."""
