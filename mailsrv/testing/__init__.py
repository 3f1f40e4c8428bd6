"""For the tests of parts, ours and foreign (public): loops, contract suites, scripted conversations."""
