"""Our records and FHIR R4, in both directions. Pure: no I/O, no clock, no randomness, no settings."""
