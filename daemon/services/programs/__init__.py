"""Programs: found, checked before they are deployed, and kept away from the control loop."""
