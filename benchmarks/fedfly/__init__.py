"""FedFly's published experiment, and beyond it, on real containers: `make bench-fedfly` (docs/fedfly.md)."""
