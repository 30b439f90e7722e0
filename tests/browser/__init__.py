"""In a real Chromium, headless."""
