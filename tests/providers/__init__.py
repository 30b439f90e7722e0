"""The providers, against scripts and real sockets."""
