"""failoverctl against a fake daemon."""
