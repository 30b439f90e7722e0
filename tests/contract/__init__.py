"""The black-box HTTP suite: any implementation of PROTOCOL.md can be put through it."""
