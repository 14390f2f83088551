"""The same Node in a world made of one seed."""
