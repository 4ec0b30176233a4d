"""What `check-traces` needs: a collector that reads OTLP with OpenTelemetry's own Python package, and traces as trees."""
