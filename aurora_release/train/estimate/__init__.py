"""What training would take, before it costs anything: operations, memory, days, energy."""
