"""What a daemon shows of itself: metrics and their port, the log, and word to the service manager."""
