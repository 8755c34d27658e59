"""Shared helpers of the tests: small worlds and texts, a small config, real processes, made-up sweeps and clusters."""
