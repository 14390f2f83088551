"""A second opinion on the failover protocol: reads captures, shares no line with the codec that speaks it (scapy, an extra)."""
