"""Turns a job into events."""
