"""What the zone should say (RFC 2136, RFC 4701, RFC 4703). Plans; never sends."""
