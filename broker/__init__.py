"""The durable log on Redis; knows nothing of providers or HTTP."""
