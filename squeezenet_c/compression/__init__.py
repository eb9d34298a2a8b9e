"""Models made smaller and faster: int8 by calibration."""
