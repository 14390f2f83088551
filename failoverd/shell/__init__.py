"""The only room that awaits, opens, sleeps or reads a clock."""
