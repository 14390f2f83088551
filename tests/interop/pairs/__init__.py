"""The interop suite: failoverd and Debian's dhcpd as each other's partner, through every mishap that a pair can meet.

`python -m tests.interop.pairs` runs it in parallel, each case in network namespaces of its own, and writes the table of results.
"""
