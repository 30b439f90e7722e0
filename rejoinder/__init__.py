"""The ``rejoinder`` command and the Python client: ``from rejoinder.client import Client``."""
