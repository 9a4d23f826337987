"""Sends a release that verifies to where others get it, and says what two releases differ in."""
