"""The parts of scripts/gpu-check. They need nothing but Python and `fleet_stack`, since they also run out of an archive on a bare machine."""
