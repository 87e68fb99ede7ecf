"""Tests of the client core lie here; those of ``audio``, ``server`` and others in folders beside."""
