"""The operations of administration (floor 4), one module per noun."""
