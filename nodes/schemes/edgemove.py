"""``edgemove``: a pipeline over a device and edge servers, micro-batch by micro-batch (EdgeMove, WWW 2023).

Only the paper's abstract is public to us: pipeline, schedules and weight stashing are the field's standard (GPipe,
PipeDream), the rest is our design; docs/edgemove-design.md says which is which.
"""

from nodes.schemes._base import AGGREGATOR, PROBER, Scheme, place_pipeline, stage_role

SCHEME = Scheme(
    name="edgemove",
    split=True,
    pipelined=True,
    strategies=("relay",),
    roles={
        AGGREGATOR: "nodes.schemes._assembling:Assembling",
        stage_role(0): "nodes.schemes._driver:Driver",
        **{stage_role(stage): "nodes.schemes._recut:RecutStage" for stage in (1, 2, 3)},
        PROBER: "nodes.schemes._prober:Prober",
    },
    place=place_pipeline,
    movable=(stage_role(1),),
    source="EdgeMove: Pipelining Device-Edge Model Training for Mobile Intelligence, WWW 2023 (by its abstract)",
)
