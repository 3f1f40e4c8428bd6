"""The configuration: options, loading, editing (floor 4)."""
