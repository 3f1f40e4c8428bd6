"""The default store (floor 2b): segments of content, one SQLite index, one writer thread."""
