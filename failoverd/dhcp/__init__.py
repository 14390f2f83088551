"""What a DHCP client says and hears (RFC 2131, RFC 2132). Knows neither partner nor DNS."""
