"""Counters and gauges of a site for Prometheus (floor 6): `figures` says what there is, `page` serves it."""
