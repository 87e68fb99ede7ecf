"""Tests of the local server: behaviours on a stage, the wire over loopback, and the vendor's own SDK against it."""
