"""Programs: found, checked before deployment, and kept away from the control loop."""
