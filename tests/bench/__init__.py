"""`make bench`: perfdhcp against a pair of failoverd and a pair of Debian's dhcpd, in namespaces, alternating in one run."""
