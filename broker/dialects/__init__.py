"""From every vendor's requests to the canonical one, and from that to every vendor's: pure. Contract section 5."""
