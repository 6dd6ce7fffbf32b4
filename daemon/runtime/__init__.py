"""The hosts of the pure machines: the control loop, the tick thread, the store's thread, and what they share."""
