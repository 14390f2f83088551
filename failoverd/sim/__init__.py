"""The same Node in a world made of one seed: network, disks, clocks, a DNS master, clients, faults; and the judges of the run."""
