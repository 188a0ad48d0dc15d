"""Learning: models, stages, data, training state, pacing. Knows no network and no container."""
