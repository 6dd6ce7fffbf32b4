"""A daemon's observability: metrics and their port, the log, and notifications to the service manager."""
