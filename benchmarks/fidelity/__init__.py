"""What was asked of links and nodes against what was measured: `make bench-fidelity` (docs/fidelity.md)."""
