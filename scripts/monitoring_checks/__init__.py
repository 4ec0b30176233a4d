"""What `scripts/check-monitoring` looks at: rules, dashboards, and both against a fleet that works."""
