"""failoverd: a redundant DHCP pair that feeds DNS and speaks ISC dhcpd's failover protocol."""

__version__ = "0.1.0"
