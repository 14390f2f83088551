"""A recorded server lives again: what a Node was, what it was stepped with, and whether it decides the same (failoverctl replay)."""
