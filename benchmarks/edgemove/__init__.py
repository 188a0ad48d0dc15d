"""EdgeMove's pipelines on real containers, against what bounds them and what came before: `make bench-edgemove`."""
