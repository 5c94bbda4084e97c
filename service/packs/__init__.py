"""Region packs: what a region decides, as data, read and checked before anything is decided by it."""
