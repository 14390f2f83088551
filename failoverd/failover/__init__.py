"""What the partner says and hears (draft-ietf-dhc-failover-12 as ISC dhcpd speaks it)."""
