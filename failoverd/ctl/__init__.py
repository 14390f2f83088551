"""failoverctl: speaks only the API."""
