"""The broker's contract: each suite runs on fakeredis and on the real server."""
