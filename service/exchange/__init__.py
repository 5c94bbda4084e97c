"""The external FHIR server: deliveries to it, the worker that wakes them, and a stand-in for demo and tests."""
