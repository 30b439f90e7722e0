"""The stateless HTTP nodes: they stand on the broker and never meet a worker."""
