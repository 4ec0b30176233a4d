"""Draws, trains, exports and judges the default model of the fleet (see ../README.md)."""
