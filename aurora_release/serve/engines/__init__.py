"""What generates: engines behind one small protocol."""
