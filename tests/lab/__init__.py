"""A lab of network namespaces: servers, BIND, a relay and real DHCP clients, started, watched and removed without a trace.

Everything lies in namespaces named `fdlab-<pid>.<n>-<host>`, among them `sw`, which holds the bridges, so nothing is added to the
machine's own network. Files lie in one directory under /tmp and in /etc/netns/<namespace>/ (resolv.conf, which `ip netns exec` puts
over /etc/resolv.conf). Needs root.

Programs that have an AppArmor profile on Debian (named, dhcpd, dhclient) are run from copies in the lab's directory: a profile goes
by path, so the copies are free to read and write there and nothing of the machine's policy is changed.
"""
