"""Over what devices and processes a run is spread."""
