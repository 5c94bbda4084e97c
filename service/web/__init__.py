"""HTTP: thin. Reads requests, asks the journey or the store, writes answers; one table turns refusals into statuses."""
