"""The two hosts of the pure machines, control loop and tick thread, and the work that they hand to threads: carrying
loads, holding parts, gathering results."""
