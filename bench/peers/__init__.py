"""Other people's servers behind the same load: installed from public packages, configured here, started by us."""
