"""``fedfly``: as `splitfed`, but the edge half migrates with its training state when its device moves."""

from dataclasses import replace

from nodes.schemes.splitfed import SCHEME as SPLITFED

SCHEME = replace(
    SPLITFED,
    name="fedfly",
    strategies=("migrate", "restart", "relay", "shadow", "carry"),
    source="Ullah et al., FedFly: Toward Migration in Edge-Based Distributed Federated Learning, 2022",
)
