"""What a lease is and every sum of time about it. Imports nothing of ours but ports and notes."""
