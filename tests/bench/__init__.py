"""The harness's own arithmetic and parsers; nothing here measures."""
